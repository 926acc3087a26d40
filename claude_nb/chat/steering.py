"""Commands typed into a chat: run as in a cell, about the session that the chat shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from claude_nb.answers import Answer, Mistake, Table, Verbatim
from claude_nb.chat.wording import as_said_in_a_chat
from claude_nb.commands import COMMANDS, check_known, run
from claude_nb.errors import ClaudeNbError
from claude_nb.help import chat_help
from claude_nb.losing import forced
from claude_nb.prompt_line import Request, split_arguments

if TYPE_CHECKING:
    from claude_nb.chat.widget import ChatWidget
    from claude_nb.session import Session

_ONLY_IN_A_CELL = {
    "show": "a chat shows its turns by itself. `%claude /show` in a cell shows the last one there",
    "code": "`To cell` above a reply's code puts it into a new cell",
    "widget": "this is one already. `/switch NAME` shows another session in it",
    "wait": "a chat waits by itself: what you send now is sent once the running turn has ended",
}


def steer(chat: ChatWidget, request: Request) -> bool:
    """Carry out the command of a request and show its answer; False if it is a prompt of Claude Code's own.

    Raises `Mistake` for an unknown command, and whatever the command refuses with, in the chat's words.
    """
    command = str(request.command)
    try:
        if command in _ONLY_IN_A_CELL:
            raise Mistake(f"/{command} is for cells: {_ONLY_IN_A_CELL[command]}.")
        if command not in COMMANDS and command not in _IN_CHAT:
            check_known(chat.shown, command)
            return False
        answer = _IN_CHAT.get(command, _run)(chat, request)
    except ValueError as error:
        raise Mistake(as_said_in_a_chat(str(error))) from None
    except ClaudeNbError as error:
        error.args = (as_said_in_a_chat(str(error)),)
        raise
    if answer is not None:
        chat.feed.answer(request.prompt.strip(), _in_words_of_a_chat(answer))
    chat.feed.look()
    chat.list_sessions()
    return True


def _in_words_of_a_chat(answer: Answer) -> Answer:
    match answer:
        case Table():
            rows = [[as_said_in_a_chat(cell) for cell in row] for row in answer.rows]
            return Table(answer.header, rows, [as_said_in_a_chat(note) for note in answer.notes])
        case Verbatim():
            return Verbatim(as_said_in_a_chat(answer))
        case str() if "\n" not in answer:
            return as_said_in_a_chat(answer)
    return answer


def _run(chat: ChatWidget, request: Request) -> Answer:
    def meant(name: str | None) -> Session:
        return chat.shown if name is None else chat.manager.existing(name)

    return run(str(request.command), chat.manager, request.arguments, meant)


def _help(chat: ChatWidget, request: Request) -> Answer:
    return chat_help(request.arguments)


def _switch(chat: ChatWidget, request: Request) -> Answer:
    """The chat goes there; what `%claude` in a cell talks to stays."""
    words = split_arguments(request.arguments)
    if len(words) != 1:
        raise Mistake("Write `/switch NAME`; quote a name with spaces.")
    chat.show(chat.manager.existing(words[0]))
    return f"This chat shows {chat.shown.name} now."


def _new(chat: ChatWidget, request: Request) -> Answer:
    answer = _run(chat, request)
    chat.show(chat.manager.session())
    return answer


def _archive(chat: ChatWidget, request: Request) -> Answer:
    force, words = forced(split_arguments(request.arguments))
    if words and words != [chat.shown.name]:
        return _run(chat, request)
    chat.archive(force=force)
    return None


_IN_CHAT: dict[str, Callable[[ChatWidget, Request], Answer]] = {
    "help": _help,
    "switch": _switch,
    "new": _new,
    "archive": _archive,
}
