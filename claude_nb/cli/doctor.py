"""`jupyter claude doctor`: look at everything that claude_nb needs, and say what to do about it.

Signs of a sign-in come from Claude Code's own `auth status`; no credential is read here and none is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from claude_nb import __version__, guard
from claude_nb.errors import ClaudeNotFound
from claude_nb.launch import find_cli, scrubbed_names
from claude_nb.private import cannot_write, exposed
from claude_nb.processes import NO_PROC, not_promised
from claude_nb.transcript import config_dir

# Each of the CLI's commands answers within 0.3 s; a cold disk or a helper program may take longer.
PATIENCE = 20.0
# What a start of a session and a turn write is less.
MUCH = 1_000_000

Level = Literal["ok", "note", "problem"]
SIGNS: dict[Level, str] = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}

REQUIRED = ("claude-agent-sdk", "ipykernel", "ipython")
OPTIONAL = ("jupyterlab", "notebook")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` is what to do about it, if anything."""

    what: str
    level: Level
    found: str
    advice: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 0 if `%claude` can be used."""
    findings = list(examine())
    usable = all(finding.level != "problem" for finding in findings)
    if arguments.json:
        print(json.dumps({"usable": usable, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        for finding in findings:
            print_finding(finding)
        print("\n%claude can be used." if usable else "\n%claude cannot be used yet: see PROBLEM above.")
    return 0 if usable else 1


def print_finding(finding: Finding) -> None:
    """A line, and one below it for what to do."""
    print(f"{SIGNS[finding.level]}  {finding.what:<18} {finding.found}")
    if finding.advice:
        print(f"{'':<28}-> {finding.advice}")


def examine() -> Iterator[Finding]:
    """Everything, the most basic first."""
    yield Finding("claude_nb", "ok", __version__)
    yield look_at_platform()
    yield from look_at_packages()
    yield look_at_nest_asyncio()
    yield from look_at_cli()
    yield look_at_history()
    yield look_at_runtime_folder()
    yield look_at_data_folder()
    yield look_at_server_extension()
    yield from look_at_guarantees()


def look_at_platform() -> Finding:
    found = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if sys.platform == "win32":
        return Finding("system", "problem", found, "Windows is not supported yet; use WSL 2.")
    if sys.platform != "linux":
        return Finding("system", "note", found, "Not tested on this system; Linux is.")
    return Finding("system", "ok", found)


def look_at_packages() -> Iterator[Finding]:
    for name in REQUIRED:
        version = installed(name)
        if version is None:
            yield Finding(name, "problem", "not installed", f"pip install {name}")
        else:
            yield Finding(name, "ok", version)
    fronts = {name: installed(name) for name in OPTIONAL}
    if any(fronts.values()):
        for name, version in fronts.items():
            if version is not None:
                yield Finding(name, "ok", version)
    else:
        advice = 'Fine with VS Code or a server elsewhere; else pip install "claude-nb[lab]"'
        yield Finding("front end", "note", "neither JupyterLab nor Notebook in this environment", advice)


def installed(name: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def look_at_nest_asyncio() -> Finding:
    original = installed("nest-asyncio")
    if original is None:
        return Finding("nest_asyncio", "ok", "the original is not installed")
    advice = (
        "Its apply() loses queued cells on ipykernel 7: in your own code use nest_asyncio2, which is here."
    )
    return Finding("nest_asyncio", "note", f"the original, {original}, is installed", advice)


# -- Claude Code -----------------------------------------------------------------------------------


def look_at_cli() -> Iterator[Finding]:
    try:
        cli = find_cli()
    except ClaudeNotFound as error:
        yield Finding("Claude Code", "problem", "not found", str(error))
        return
    version = ask(cli, "--version")
    if version is None or version.returncode != 0:
        advice = "Reinstall it with pip install --force-reinstall claude-agent-sdk"
        yield Finding("Claude Code", "problem", f"{cli} does not run", advice)
        return
    yield Finding("Claude Code", "ok", f"{version.stdout.strip()}, {cli}")
    yield look_at_sign_in(cli)


def look_at_sign_in(cli: Path) -> Finding:
    status = auth_status(cli)
    if status is None:
        advice = "Try `%claude hello`: it says whether you are signed in."
        return Finding("signed in", "note", "Claude Code did not say", advice)
    if not status.get("loggedIn"):
        advice = "Run `jupyter claude login`, or set ANTHROPIC_API_KEY before Jupyter starts."
        return Finding("signed in", "problem", "no", advice)
    provider, method = status.get("apiProvider", "unknown"), status.get("authMethod", "unknown")
    return Finding("signed in", "ok", f"yes, by {method} ({provider})")


def auth_status(cli: Path) -> dict[str, Any] | None:
    """What `claude auth status` says, or None if it says nothing that can be understood."""
    answer = ask(cli, "auth", "status", "--json")
    if answer is None:
        return None
    try:
        status = json.loads(answer.stdout)
    except ValueError:
        return None
    return status if isinstance(status, dict) and "loggedIn" in status else None


def ask(cli: Path, *words: str) -> subprocess.CompletedProcess[str] | None:
    """Run one of the CLI's commands; None if it does not run or does not end."""
    environment = {**os.environ, "DISABLE_AUTOUPDATER": "1"}
    for name in scrubbed_names(environment):
        del environment[name]
    try:
        return subprocess.run(
            [str(cli), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


# -- what the machine guarantees -------------------------------------------------------------------


def look_at_runtime_folder() -> Finding:
    """The guard is started by a small script there, which must be allowed to run."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = existing(Path(jupyter_runtime_dir()))
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        advice = "Set JUPYTER_RUNTIME_DIR to a folder on a file system without `noexec`."
        return Finding("runtime folder", "problem", f"programs in {folder} cannot be run", advice)
    return look_at_folder("runtime folder", Path(jupyter_runtime_dir()), "JUPYTER_RUNTIME_DIR")


def look_at_data_folder() -> Finding:
    """Records and copies of conversations are there."""
    from jupyter_core.paths import jupyter_data_dir

    return look_at_folder("data folder", Path(jupyter_data_dir()), "JUPYTER_DATA_DIR")


def look_at_folder(what: str, jupyter: Path, variable: str) -> Finding:
    """Whether our folder in one of Jupyter's is safe and can be written, by trying; nothing stays there."""
    ours = jupyter / "claude_nb"
    advice = f"Set {variable} to a folder of yours that can be written and has room."
    if os.path.lexists(ours):
        danger = exposed(ours, may_be_link=variable == "JUPYTER_DATA_DIR")
        if danger is not None:
            return Finding(what, "problem", f"{ours} is not used: {danger}", advice)
    place = existing(ours)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".claude_nb-") as file:
            file.write(bytes(MUCH))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(what, "problem", f"{place} cannot be written: {error.strerror}", advice)
    return Finding(what, "ok", str(jupyter))


def look_at_history() -> Finding:
    """Claude Code says nothing where it cannot write its conversations; what is not there is not resumed."""
    folder = config_dir() / "projects"
    reason = cannot_write(folder)
    if reason is None:
        return Finding("Claude's history", "ok", str(folder))
    advice = (
        "Claude Code's process is then the only copy of a conversation. Set CLAUDE_CONFIG_DIR, or make room."
    )
    return Finding("Claude's history", "problem", f"{folder} cannot be written ({reason})", advice)


def look_at_server_extension() -> Finding:
    """The package's own file enables it, and anybody may disable it in theirs."""
    from jupyter_core.paths import jupyter_config_path

    what = "server extension"
    try:
        from jupyter_server.extension.config import ExtensionConfigManager
    except ImportError:
        advice = "Install claude-nb beside the server too, for what it does there."
        return Finding(what, "note", "no Jupyter server in this environment", advice)
    if ExtensionConfigManager(read_config_path=jupyter_config_path()).enabled("claude_nb"):
        return Finding(what, "ok", "enabled")
    advice = "Run `jupyter server extension enable claude_nb`, or reinstall claude-nb, which enables it."
    return Finding(what, "note", "not enabled", advice)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def look_at_guarantees() -> Iterator[Finding]:
    if not guard.LINUX:
        advice = "Processes are ended by process group, parent and marker; untested on this system."
        yield Finding("processes", "note", "no subreaper and no pidfd here", advice)
        return
    yield look_at_proc()
    yield capability(
        "subreaper",
        guard.prctl(guard.PR_SET_CHILD_SUBREAPER, 1),
        "A program that detaches itself from Claude Code's tools may outlive the kernel.",
    )
    yield capability(
        "pidfd",
        has_pidfd(),
        "The kernel's death is noticed up to 0.5 s later. Linux 5.3 or newer has pidfds.",
    )
    yield capability(
        "parent-death signal",
        guard.prctl(guard.PR_SET_PDEATHSIG, 0),
        "If its guard is killed, Claude Code goes on until the kernel notices.",
    )


def look_at_proc(proc: str = guard.PROC) -> Finding:
    """Claude Code does not start without it; of one that shows less, less is promised."""
    reasons = not_promised(proc)
    if NO_PROC in reasons:
        return Finding("/proc", "problem", "not mounted", NO_PROC)
    return (
        Finding("/proc", "note", "incomplete", " ".join(reasons))
        if reasons
        else Finding("/proc", "ok", "yes")
    )


def capability(what: str, there: bool, otherwise: str) -> Finding:
    """One guarantee of the operating system; without it less is promised, but all of it works."""
    return Finding(what, "ok", "yes") if there else Finding(what, "note", "no", otherwise)


def has_pidfd() -> bool:
    """Whether a pidfd can be opened: some sandboxes forbid it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
