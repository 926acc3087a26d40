"""A real Jupyter server on a free port of 127.0.0.1, with folders of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Seconds for a cold JupyterLab to answer on a loaded machine.
_START_PATIENCE = 120.0
# A server that was told to end first ends its kernels, and then what these have left.
_END_PATIENCE = 30.0

# What JupyterLab would ask a newcomer in a dialog, and what would send requests to the network.
QUIET = {"apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    token: str
    process: subprocess.Popen[bytes]

    def api(self, method: str, path: str) -> Any:
        """What the server's REST interface answers."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=_START_PATIENCE) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def end_kernels(self, but: Collection[str] = ()) -> None:
        """Shut the kernels down, as Kernel > Shut Down does, except those with these ids."""
        for kernel in self.api("GET", "kernels"):
            if kernel["id"] not in but:
                self.api("DELETE", f"kernels/{kernel['id']}")


def private_folders(place: Path) -> dict[str, str]:
    """The variables that name Jupyter's folders, each of them made in `place`."""
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for name in names.values():
        (place / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    return {variable: str(place / name) for variable, name in names.items()}


def write_settings(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """JupyterLab's, by plugin, into the folder that JUPYTERLAB_SETTINGS_DIR names."""
    for plugin, values in settings.items():
        file = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))


@contextmanager
def jupyter_server(
    module: str, folder: Path, log: Path, environment: Mapping[str, str], *options: str
) -> Iterator[Running]:
    """`python -m module`, which serves `folder`; ended afterwards, with its kernels.

    `environment` comes on top of this process's own, and one of them names JUPYTER_RUNTIME_DIR.
    """
    token = uuid.uuid4().hex
    everything = {**os.environ, **environment, "JUPYTER_TOKEN": token}
    command = [sys.executable, "-m", module, "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port=0", f"--ServerApp.root_dir={folder}", *options]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=everything, cwd=folder, stdout=output, stderr=output)
    try:
        url = _wait_for_address(process, Path(everything["JUPYTER_RUNTIME_DIR"]), log)
        yield Running(url, token, process)
    finally:
        _end(process)


def _wait_for_address(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """What the server writes into its runtime folder once it listens."""
    deadline = time.monotonic() + _START_PATIENCE
    file = runtime / f"jpserver-{process.pid}.json"
    while process.poll() is None and time.monotonic() < deadline:
        try:
            url: str = json.loads(file.read_text())["url"]
            urllib.request.urlopen(f"{url}api", timeout=_START_PATIENCE).close()
            return url
        except (OSError, ValueError):  # not there yet, or being written
            time.sleep(0.05)
    raise AssertionError(f"the Jupyter server did not start:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
