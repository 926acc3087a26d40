"""What `/help` says, for a cell and for a chat; no line is wider than a narrow notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from claude_nb.answers import Mistake, Verbatim
from claude_nb.commands import COMMANDS, NEED_A_CELL

WIDTH = 80
# The column of the usages.
_USAGE = 26

_IN_A_CELL = """\
%claude PROMPT                  ask; the reply streams into the cell
%%claude [options] [PROMPT]     the same with a longer prompt as the body
x = %claude PROMPT              keeps the Reply: x.text, x.code, x.tools ...

options, before the prompt
  -s, --session NAME    talk to the session of that name, made if there is none
  -o, --out VAR         also bind the Reply to a variable
  -b, --background      go on at once; the reply streams into this cell, and -o
                        binds the Turn
  -m, --model MODEL     use this model from now on in the session
  -n, --new             forget: start the session's conversation afresh
  -q, --quiet           show only what Claude writes, no tool calls
      --no-context      do not send what happened in the notebook along
      --force           with -n: also lose what Claude Code could not write
  --                    the prompt begins here, even with a dash

commands, as `%claude /COMMAND`
"""
_LAST_WORDS = """\
Other /commands are Claude Code's own and are passed on. A path such as
/tmp/x.csv is not a command.
"""
_HOW_TO_STOP = "Kernel > Interrupt (or Ctrl-C) ends the turn and keeps the session.\n"

# Those that `commands.py` does not have.
_USAGES = {
    "help": "/help [COMMAND]   this text, or what is known of one command",
    "clear": "/clear   forget, as -n",
    "show": "/show [NAME] [--unmasked]   the last turn of this session, here; with keys and tokens unmasked",
    "code": "/code [N]   the N-th code block of the last reply, in a new cell",
    "widget": "/widget [NAME]   a chat with the session, with buttons",
}
_ONLY_IN_A_CELL = ("show", "code", "widget")


def help_text(command: str = "") -> Verbatim:
    """All of it for a cell, or the lines of one command. Raises `Mistake` if there is none of that name."""
    if command:
        return Verbatim(_help_of(command))
    commands = _lines([*NEED_A_CELL, *COMMANDS])
    return Verbatim(f"{_IN_A_CELL}{commands}\n{_LAST_WORDS}{_HOW_TO_STOP}")


def chat_help(command: str = "") -> Verbatim:
    """The same for a chat."""
    if command:
        return Verbatim(_help_of(command))
    here = [name for name in (*NEED_A_CELL, *COMMANDS) if name not in _ONLY_IN_A_CELL]
    return Verbatim(f"{_lines(here)}\n{_LAST_WORDS}")


def usages() -> list[str]:
    """The help's lines of the commands that steer sessions."""
    return _lines(COMMANDS).splitlines()


def _help_of(command: str) -> str:
    from claude_nb.prompt_line import nearest

    name = command.removeprefix("%claude").strip().removeprefix("/")
    if name not in _USAGES and name not in COMMANDS:
        near = nearest(name, [*_USAGES, *COMMANDS])
        hint = f"Did you mean /{near}?" if near else "`%claude /help` lists the commands."
        raise Mistake(f"There is no help for /{name}. {hint}")
    usage, what = _usage_of(name)
    lines = textwrap.wrap(what, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([usage, *lines, ""])


def _lines(names: Iterable[str]) -> str:
    return "\n".join(line for name in names for line in _wrapped(*_usage_of(name)))


def _usage_of(name: str) -> tuple[str, str]:
    """How it is written, and what it does."""
    text = _USAGES.get(name) or str(COMMANDS[name].__doc__)
    usage, _, what = text.partition("   ")
    return usage, " ".join(what.split())


def _wrapped(usage: str, what: str) -> list[str]:
    """In two columns; below one another where the usage takes the room of both."""
    indent = " " * (_USAGE + 2)
    lines = textwrap.wrap(what, WIDTH - len(indent), break_on_hyphens=False)
    if len(usage) <= _USAGE - 2:
        return [f"  {usage:<{_USAGE - 2}}  {lines[0]}", *(indent + line for line in lines[1:])]
    head = textwrap.wrap(usage, WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False)
    return [*("  " + line for line in head), *(indent + line for line in lines)]
