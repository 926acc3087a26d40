"""Where everything runs: private folders, nobody's credentials, the offline API in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Another account, another server, another kernel's identity.
FOREIGN = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "IPYTHON", "JPY_", "JUPYTER", "AWS_", "OTEL_", "__vsc")
OURS = "CLAUDE_NB_"
# Who installed the package with pip has its modules compiled.
UNINSTALLED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
FOLDERS = (
    "HOME",
    "CLAUDE_CONFIG_DIR",
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
)
# The API ends when its input does; longer than this means that it does not.
END_PATIENCE = 10.0


@contextmanager
def sandbox() -> Iterator[Path]:
    """A folder to work in, and an environment in which nothing of the person's own is to be found."""
    saved = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="claude_nb-") as name:
        folders = {variable: Path(name).resolve() / variable.lower() for variable in (*FOLDERS, "work")}
        for folder in folders.values():
            folder.mkdir(mode=0o700)
        work = folders.pop("work")
        try:
            replace_environment({**without_foreign(saved), **{n: str(f) for n, f in folders.items()}})
            quieten_kernels(folders["IPYTHONDIR"])
            with offline_api() as environment:
                os.environ.update(environment)
                yield work
        finally:
            replace_environment(saved)


def without_foreign(environment: Mapping[str, str]) -> dict[str, str]:
    unwanted = {name for name in environment if name.startswith(FOREIGN) and not name.startswith(OURS)}
    return {n: v for n, v in environment.items() if n not in unwanted and n not in UNINSTALLED}


def quieten_kernels(ipython: Path) -> None:
    """Each kernel would warn into the table that its messages are not encrypted."""
    profile = ipython / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")


def replace_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


@contextmanager
def offline_api() -> Iterator[dict[str, str]]:
    """The API that plays `script.yaml`: the environment that leads to it.

    In this process it would share the interpreter with what is measured.
    """
    command = [sys.executable, "-m", "benchmarks.api", os.environ["CLAUDE_CONFIG_DIR"]]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as api:
        assert api.stdin is not None
        assert api.stdout is not None
        try:
            yield json.loads(api.stdout.readline())
        finally:
            api.stdin.close()
            try:
                api.wait(END_PATIENCE)
            except subprocess.TimeoutExpired:
                api.kill()
