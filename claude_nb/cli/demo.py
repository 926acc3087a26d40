"""`jupyter claude demo`: the example notebooks on the offline API, in JupyterLab or as text."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from claude_nb.cli import CommandError
from claude_nb.cli.guarded import Guarded
from claude_nb.cli.offline import started
from claude_nb.cli.sandbox import QUICKSTART, Sandbox, sandbox
from claude_nb.cli.signals import StopSignals

# A cold JupyterLab on a slow disk needs many seconds; then it will not start any more.
START_TIMEOUT = 90.0
# How soon a signal, a server that is ready and one that has died are noticed.
PULSE = 0.1
# The end of a log that explains why a server did not start.
LAST_LINES = 12


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until it is stopped, or the quick start until its end."""
    _require("nbclient" if arguments.execute else "jupyterlab")
    what = "the quick start" if arguments.execute else "JupyterLab with the example notebooks"
    print(f"Starting {what} ...", file=sys.stderr, flush=True)
    with StopSignals() as stop, sandbox() as box, started(box.api()) as api:
        box.configure(api)
        environment = box.environment(api)
        if arguments.execute:
            return execute(box, environment, stop)
        return serve(box, environment, stop, arguments)


def _require(module: str) -> None:
    if find_spec(module) is None:
        raise CommandError(f'{module} is not installed. Install it with `pip install "claude-nb[lab]"`.')


# -- as text ---------------------------------------------------------------------------------------


def execute(box: Sandbox, environment: dict[str, str], stop: StopSignals) -> int:
    """Run the quick start in a kernel and print it; 1 if a cell failed."""
    command = [sys.executable, "-m", "claude_nb.cli.reader", QUICKSTART]
    with Guarded(command, environment=environment, cwd=box.notebooks, files=box.private) as reader:
        while not reader.ended and not stop.wait(PULSE):
            pass
    if stop.came:
        raise CommandError("stopped before the end of the notebook.")
    return 0 if reader.process.returncode == 0 else 1


# -- in JupyterLab ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A JupyterLab that answers."""

    url: str  # with its token
    page: Path  # a private file that leads a browser to it


def serve(box: Sandbox, environment: dict[str, str], stop: StopSignals, arguments: argparse.Namespace) -> int:
    """Run JupyterLab until a signal comes or somebody shuts it down from its menu."""
    with (box.private / "jupyter.log").open("w+") as log:
        output = None if arguments.verbose else log
        command = lab_command(arguments.port)
        with Guarded(
            command, environment=environment, cwd=box.notebooks, files=box.private, output=output
        ) as lab:
            server = wait_until_ready(lab, box, stop, log)
            if server is not None:
                welcome(server, opened=not arguments.no_browser and open_browser(server))
                while not lab.ended and not stop.wait(PULSE):
                    pass
            if stop.came:
                print("Stopping JupyterLab and its kernels ...", file=sys.stderr, flush=True)
    print("Everything that was started has ended.", file=sys.stderr)
    return 0


def lab_command(port: int | None) -> list[str]:
    """JupyterLab on loopback, with a token of its own making."""
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"),
        "--ServerApp.root_dir=.",
        f"--LabApp.default_url=/lab/tree/{QUICKSTART}",
    ]
    if port is not None:  # who names a port wants this one and no other
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if os.geteuid() == 0:  # in a container; on loopback and with a token that is what the user asked for
        command.append("--allow-root")
    return command


def wait_until_ready(lab: Guarded, box: Sandbox, stop: StopSignals, log: IO[str]) -> Server | None:
    """The server once it listens; None if the demo is stopped before."""
    deadline = time.monotonic() + START_TIMEOUT
    while not stop.wait(PULSE):
        server = find_server(box.runtime)
        if server is not None:
            return server
        if lab.ended or time.monotonic() > deadline:
            raise CommandError(f"JupyterLab did not start. {last_lines(log)}")
    return None


def find_server(runtime: Path) -> Server | None:
    """The server that has written its address into this folder, once it listens, which may be later."""
    for file in runtime.glob("jpserver-*.json"):
        page = file.with_name(file.stem + "-open.html")
        try:
            about = json.loads(file.read_text())
        except ValueError:  # being written
            continue
        if page.exists() and listens(about["hostname"], about["port"]):
            address = f"{about['url']}lab/tree/{QUICKSTART}?token={about['token']}"
            return Server(address, page)
    return None


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), PULSE).close()
    except OSError:
        return False
    return True


def last_lines(log: IO[str]) -> str:
    """Why a server did not start, as far as it said so."""
    log.seek(0)
    lines = [line.rstrip() for line in log if line.strip()]
    if not lines:
        return "It said nothing; try again with `--verbose`."
    return "It said:\n  " + "\n  ".join(lines[-LAST_LINES:])


def open_browser(server: Server) -> bool:
    """Open the page, by a file that holds the token: on a command line other users could read it."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # a browser for terminals would take over this one
    return webbrowser.open(server.page.as_uri())


def welcome(server: Server, opened: bool) -> None:
    """Say what runs where."""
    print("Claude is played by a script here: no account is needed, nothing leaves this machine.")
    print("If no page has opened, go to" if opened else "Open this address in a browser:")
    print(f"\n    {server.url}\n")
    print("Ctrl-C stops everything.", flush=True)
