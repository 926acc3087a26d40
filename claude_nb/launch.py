"""How a kernel starts Claude Code: which CLI, behind which guard, with which environment.

The SDK takes as `cli_path` a program without arguments of its own, so the guard and its options are put
into a small `sh` script, the *shim*. The shim becomes the guard, and the guard starts the CLI:

    kernel ── sh shim ═exec═ guard ── CLI ── tools
"""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import os
import py_compile
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from claude_nb import guard
from claude_nb.errors import ClaudeNotFound, UnsupportedPlatform
from claude_nb.private import private_folder, replace_file
from claude_nb.processes import NO_PROC, Identity, alive, not_promised

log = logging.getLogger(__name__)

# Environment variables that are the server's, the kernel's or an outer Claude Code session's business. The
# user's own credentials (ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, AWS_*, ...) are Claude Code's to read
# and stay, and so does CLAUDE_CODE_ENTRYPOINT, which the SDK sets anew.
SCRUBBED = (
    # Who has one of these tokens controls the user's server, or is the user at the hub.
    "JPY_*",
    "JUPYTERHUB_*",
    "JUPYTER*TOKEN*",
    "JUPYTER*PASSWORD*",
    "JUPYTER*SECRET*",
    "CONFIGPROXY_AUTH_TOKEN",
    "COLAB_*TOKEN*",
    "KAGGLE_USER_SECRETS_TOKEN",
    "KAGGLE_DATA_PROXY_TOKEN",
    # How a Claude Code inside a Claude Code, or beside its editor, would take itself for the outer one.
    "CLAUDECODE",
    "CLAUDE_CODE_*FILE_DESCRIPTOR",  # the numbers of files that the guard closes
    "CLAUDE_CODE_BRIDGE_*",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_MESSAGING_SOCKET",
    "CLAUDE_CODE_REMOTE*",
    "CLAUDE_CODE_SESSION_*",
    "CLAUDE_CODE_SPAWN*",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_SUPERVISED",
    "CLAUDE_CODE_WORKER_EPOCH",
    "CLAUDE_BG_*",
    "CLAUDE_BRIDGE_*",
    "CLAUDE_ENV_FILE",
    "CLAUDE_JOB_DIR",
    "CLAUDE_PLUGIN_ROOT",
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_PTY_*",
    "CLAUDE_RUNNER_*",
    "CLAUDE_SESSION_*",
    "ENABLE_IDE_INTEGRATION",
    # Detaches a tool that runs for long: the turn would end while the person's kernel still runs its code.
    "CLAUDE_AUTO_BACKGROUND_TASKS",
    guard.MARKER_VARIABLE,
)
# The addresses at which a dashboard that Claude starts can be reached through the hub are no secret.
KEPT = ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_BASE_URL", "JUPYTERHUB_USER")

SAFE_MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,127}")


def scrubbed_names(environ: Mapping[str, str], keep: Iterable[str] = ()) -> list[str]:
    """The names in `environ` that must not reach Claude Code, except for those set on purpose (`keep`)."""
    kept = {*KEPT, *keep}
    return sorted(n for n in environ if n not in kept and any(fnmatchcase(n, p) for p in SCRUBBED))


def find_cli(cli_path: str | os.PathLike[str] | None = None) -> Path:
    """The CLI to run: the one named, or else the SDK's bundled one, or else `claude` on the PATH."""
    if cli_path is not None:
        return checked_cli(Path(cli_path).expanduser().absolute())
    bundled = bundled_cli()
    if bundled is not None:
        return bundled
    installed = shutil.which("claude")
    if installed is not None:
        return Path(installed).absolute()
    raise ClaudeNotFound(
        "Claude Code was not found: neither with claude-agent-sdk nor on the PATH. "
        "Reinstall it with `pip install --force-reinstall claude-agent-sdk`, or set `cli_path`."
    )


def bundled_cli() -> Path | None:
    """The CLI inside the SDK's package, found without importing the SDK, which takes a second."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        return None
    cli = Path(spec.origin).with_name("_bundled") / "claude"
    return cli if os.access(cli, os.X_OK) and cli.is_file() else None


def checked_cli(cli: Path) -> Path:
    if not cli.exists():
        problem = "does not exist"
    elif not cli.is_file():
        problem = "is not a file"
    elif not os.access(cli, os.X_OK):
        problem = f"is not executable: `chmod +x {shlex.quote(str(cli))}`, or correct `cli_path`"
    else:
        return cli
    cure = "" if "cli_path" in problem else ". Correct `cli_path`, or unset it to use the bundled Claude Code"
    raise ClaudeNotFound(f"cli_path {cli} {problem}{cure}.", path=str(cli))


def write_shim(
    folder: str | os.PathLike[str],
    *,
    cli_path: str | os.PathLike[str],
    kernel_pid: int,
    marker: str,
    state: str | os.PathLike[str],
    ledger: str | os.PathLike[str],
    lock: str | os.PathLike[str] | None = None,
    grace: float = 1.0,
    unset: Iterable[str] = (),
) -> Path:
    """Write the program to give to the SDK as `cli_path`: the guard of one CLI, with all its options.

    `folder` is made private (0700), and the guard removes it if the kernel dies. One shim serves any number
    of starts, one after the other, as long as the kernel lives. `marker` must be this process's alone:
    letters, digits, `.`, `_` and `-`.
    """
    if not SAFE_MARKER.fullmatch(marker):
        raise ValueError(f"not a marker: {marker!r}")
    check_proc()
    folder = private_folder(Path(folder).absolute())
    program = folder / f"{marker}.pyc"
    replace_file(program, guard_program())
    kernel_start = guard.started(kernel_pid) or 0
    command = [sys.executable, "-I", "-S", program, "--kernel", kernel_pid, "--kernel-start", kernel_start]
    command += ["--marker", marker, "--state", Path(state).absolute(), "--ledger", Path(ledger).absolute()]
    command += ["--folder", folder]
    command += ["--lock", Path(lock).absolute()] if lock else []
    command += ["--grace", grace]
    for name in unset:
        command += ["--unset", name]
    command += ["--", Path(cli_path).absolute()]
    # Jupyter's Interrupt goes to the kernel's whole group, in which the shim still is until it is the guard.
    text = f"#!/bin/sh\ntrap '' INT\nexec {shlex.join(map(str, command))} \"$@\"\n"
    shim = folder / f"{marker}.sh"
    replace_file(shim, os.fsencode(text), 0o700)
    if not os.access(shim, os.X_OK):
        raise ClaudeNotFound(
            f"Programs in {folder} cannot be run; is it mounted `noexec`? "
            "Set JUPYTER_RUNTIME_DIR to a folder on another file system and restart the kernel.",
            path=str(shim),
        )
    return shim


@functools.cache  # what it raises is not kept
def check_proc(proc: str = guard.PROC) -> None:
    """Log, once, what cannot be promised here; raise `UnsupportedPlatform` where nothing can start."""
    reasons = not_promised(proc)
    if NO_PROC in reasons:
        raise UnsupportedPlatform(f"Claude Code cannot be started: {NO_PROC}")
    for reason in reasons:
        log.warning("%s", reason)


@functools.cache
def guard_program() -> bytes:
    """The guard, compiled: compiling it at each start would make the start half as long again."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "guard.pyc"
        py_compile.compile(guard.__file__, cfile=str(compiled), doraise=True)
        return compiled.read_bytes()


@dataclass(frozen=True)
class GuardState:
    """What a guard says of itself in its state file.

    `phase` is `running`, `ending` or `ended`. `status` is the CLI's exit status, 128 + n after signal n,
    None while it runs. `left` names what the guard could not end, once it has ended.
    """

    phase: str
    marker: str
    boot: str
    guard: Identity
    kernel: Identity
    cli: Identity
    status: int | None = None
    left: tuple[Identity, ...] = ()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> GuardState | None:
        """The state in this file, or None if there is none (yet) or it cannot be understood."""
        try:
            value = json.loads(Path(path).read_text())
            return cls(
                phase=value["phase"],
                marker=value["marker"],
                boot=value["boot"],
                guard=Identity(*value["guard"]),
                kernel=Identity(*value["kernel"]),
                cli=Identity(*value["cli"]),
                status=value["status"],
                left=tuple(Identity(*process) for process in value["left"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def guarded(self) -> bool:
        """Whether the guard itself still runs. If not, and `phase` is not `ended`, it was killed."""
        return self.boot == guard.boot_id() and alive(self.guard)
