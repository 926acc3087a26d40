"""`jupyter claude offline`: serve the offline API and print the environment that leads to it."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from claude_nb.cli import CommandError
from claude_nb.cli.signals import StopSignals
from claude_nb.offline import OfflineAPI


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    with StopSignals() as stop, tempfile.TemporaryDirectory(prefix="claude_nb-") as folder:
        api = OfflineAPI(script=list(arguments.script) or None, port=arguments.port)
        with started(api, arguments.port):
            print_exports(api.environment(Path(folder)))
            print(
                f"Claude is played by a script at {api.url}. Paste the lines above into another shell and "
                "start Jupyter or `claude` there. Ctrl-C stops it.",
                file=sys.stderr,
                flush=True,
            )
            stop.wait()
    return 0


def started(api: OfflineAPI, port: int = 0) -> OfflineAPI:
    """The API, listening; raises what a user can act on."""
    try:
        return api.start()
    except RuntimeError as error:
        where = f"port {port} of 127.0.0.1: {error.__cause__}" if port else f"127.0.0.1: {error.__cause__}"
        cure = "Choose another with `--port`, or none to get a free one." if port else "Is loopback up?"
        raise CommandError(f"The offline API cannot listen on {where}. {cure}") from error


def print_exports(environment: dict[str, str]) -> None:
    """One line a variable, for a POSIX shell to read."""
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
