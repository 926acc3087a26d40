"""`jupyter claude`: the command line.

- offline.py: only the offline API
- demo.py: the example notebooks, offline, in JupyterLab or (`--execute`) as text
- sessions.py: the sessions of all kernels
- sweep.py: ends what dead kernels have left
- doctor.py: what this machine gives, and what to do about it
- login.py: Claude Code's own sign-in
- sandbox.py: the demo's private folders and its environment
- guarded.py: a program of which nothing stays behind
- signals.py: Ctrl-C and its like as something to wait for
- reader.py: a program: runs a notebook and prints what a reader would see

A command's module is imported when the command is used, so that `--help` is there at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from claude_nb import __version__
from claude_nb.errors import ClaudeNbError
from claude_nb.prompt_line import nearest

# What the shell and the user know as "the command was not understood".
USAGE = 2
# As a shell reports the end by SIGPIPE.
CLOSED = 141


class CommandError(ClaudeNbError):
    """A command cannot do its work; the message is one line and holds the cure."""


class Parser(argparse.ArgumentParser):
    """Errors in one line, and a mistyped word answered with the nearest one that exists."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        self.exit(USAGE, f"{self.prog}: {self._cured(message)}\n")

    def _cured(self, message: str) -> str:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong is None:
            return f"{message}. `{self.prog} --help` says what there is."
        word, choices = wrong[1], [choice.strip(" '") for choice in wrong[2].split(",")]
        near = nearest(word, choices)
        hint = f"Did you mean `{near}`?" if near else f"There is: {', '.join(choices)}."
        return f"there is no command `{word}`. {hint}"


def make_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="jupyter claude",
        description="Claude Code in Jupyter notebooks: try it, set it up, look after it.",
        epilog="In a notebook: %load_ext claude_nb, then %claude hello",
    )
    parser.add_argument("--version", action="version", version=f"claude_nb {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    _add_demo(commands)
    _add_offline(commands)
    _add_sessions(commands)
    _add_sweep(commands)
    _add_doctor(commands)
    _add_login(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[Parser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="try it without an account: the example notebooks on the offline API",
        description=(
            "Opens JupyterLab on a temporary copy of the example notebooks. The real Claude Code runs "
            "behind the cells, and a script on this machine plays the model: no account is needed and "
            "nothing leaves the machine. Your own Jupyter and Claude Code settings are neither read nor "
            "changed. Ctrl-C stops everything that was started."
        ),
    )
    demo.add_argument(
        "--execute", action="store_true", help="run the quick start without a browser and print it as text"
    )
    demo.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    demo.add_argument("--port", type=_port, help="JupyterLab's port (default: 8888 or the next free one)")
    demo.add_argument("--verbose", action="store_true", help="show JupyterLab's own log")
    demo.set_defaults(module="demo")


def _add_offline(commands: argparse._SubParsersAction[Parser]) -> None:
    offline = commands.add_parser(
        "offline",
        help="only the offline API; prints the environment to export",
        description=(
            "Serves a stand-in for Anthropic's Messages API on 127.0.0.1 and prints, as lines for a "
            "shell, the environment that makes Claude Code and Anthropic's clients talk to it. Runs "
            "until Ctrl-C."
        ),
    )
    offline.add_argument("--port", type=_port, default=0, help="its port (default: a free one)")
    offline.add_argument(
        "--script",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a YAML script that answers before the built-in one; may be given several times",
    )
    offline.set_defaults(module="offline")


def _add_sessions(commands: argparse._SubParsersAction[Parser]) -> None:
    sessions = commands.add_parser(
        "sessions",
        help="the sessions of all your kernels and folders",
        description="Lists your sessions in every folder, the last active first: what each is doing, and how "
        "much was said in it. A notebook continues one with `%%claude /switch NAME`.",
    )
    sessions.add_argument("--all", action="store_true", help="archived ones too")
    sessions.add_argument("--json", action="store_true", help="as JSON")
    sessions.set_defaults(module="sessions")


def _add_sweep(commands: argparse._SubParsersAction[Parser]) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="end what dead kernels have left",
        description="Ends the processes of kernels that are dead and whose guards are dead, and sets their "
        "sessions' records right. Kernels do it too, when they load claude_nb and every five minutes. Only "
        "what is provably nobody's is touched.",
    )
    sweep.add_argument("--json", action="store_true", help="what was done as JSON")
    sweep.set_defaults(module="sweep")


def _add_doctor(commands: argparse._SubParsersAction[Parser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="what is installed, whether you are signed in, what this machine guarantees",
        description="Looks at everything claude_nb needs and says what to do about what it finds. "
        "Exit status 0 if `%%claude` can be used, else 1.",
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    doctor.set_defaults(module="doctor")


def _add_login(commands: argparse._SubParsersAction[Parser]) -> None:
    login = commands.add_parser(
        "login",
        help="sign in, with Claude Code's own command",
        description=(
            "Runs the sign-in of the Claude Code that claude_nb uses, which pip does not put on the PATH. "
            "Further options are passed on, for example `--console` for an account billed by API use."
        ),
    )
    login.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="for `claude auth login`")
    login.set_defaults(module="login")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 1 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's encoding may lack what a name has
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    return status


def _run(argv: Sequence[str] | None) -> int:
    arguments = make_parser().parse_args(_with_passed_on(list(sys.argv[1:] if argv is None else argv)))
    module = importlib.import_module(f"claude_nb.cli.{arguments.module}")
    try:
        return int(module.run(arguments))
    except ClaudeNbError as error:
        print(f"jupyter claude {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _with_passed_on(argv: list[str]) -> list[str]:
    """`login --console` is for Claude Code; argparse passes options on only behind a `--`."""
    if argv[:1] == ["login"] and argv[1:] and argv[1] not in ("-h", "--help", "--"):
        return ["login", "--", *argv[1:]]
    return argv
