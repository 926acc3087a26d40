"""What can go wrong, as the user meets it.

    ClaudeNbError
    ├── UnsupportedPlatform      this machine cannot run claude_nb (yet)
    ├── FolderUnusable           a folder of ours cannot be written, or is not safe (an OSError, too)
    ├── CannotImport             a package is not there, or the user's file hides it (an ImportError, too)
    ├── ClaudeNotFound           no Claude Code CLI, or `cli_path` does not run
    ├── NotSignedIn              Claude Code has no valid credentials
    ├── InvalidName              not a session name
    ├── SessionNotFound          no session of that name
    ├── SessionExists            a session of that name is there already
    ├── SessionInUse             another kernel holds the session
    ├── SessionLost              the session's history is missing
    ├── SessionBusy              a prompt or a wait that would wait for itself
    ├── ShuttingDown             no new prompts: the kernel or the session is ending
    └── TurnFailed               the turn ended without a complete reply
        ├── UnknownModel         Claude Code cannot use the model that was asked for
        ├── OutOfCredit          the account cannot pay for the turn
        ├── RateLimited          429, after Claude Code's own retries
        ├── Overloaded           529, after Claude Code's own retries
        ├── NetworkDown          the API could not be reached
        └── ProcessDied          the Claude Code process ended in mid-turn

    KeyboardInterrupt
    └── TurnInterrupted          the person interrupted the turn; stops loops and Run All

Every message says what happened, what is known and what to do next. What a program may want to
ask about is in fields; nobody needs to parse the text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

_PACKAGE = os.path.join(os.path.dirname(__file__), "")  # noqa: PTH118, PTH120

if TYPE_CHECKING:
    from claude_nb.reply import Reply


class ClaudeNbError(Exception):
    """The root: everything that claude_nb raises on purpose, except `TurnInterrupted`."""


class UnsupportedPlatform(ClaudeNbError):
    """This operating system is not supported yet."""


class FolderUnusable(ClaudeNbError, OSError):
    """A folder that claude_nb needs cannot be written, is gone, or is not this user's alone.

    `folder` is its path, or that of a file in it.
    """

    def __init__(self, message: str, folder: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.folder = folder
        self.errno = errno

    def __str__(self) -> str:
        return str(self.args[0])

    def _render_traceback_(self) -> list[str]:
        """Called by IPython instead of printing a traceback."""
        return as_one_line(self)


class CannotImport(ClaudeNbError, ImportError):
    """A package that claude_nb needs cannot be imported.

    `name` is the package's, `path` the file of the user's that hides it, or None.
    """

    def __init__(self, message: str, name: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.path = path


class ClaudeNotFound(ClaudeNbError):
    """There is no Claude Code CLI to start, or the one that `cli_path` names does not run.

    `path` is the file that was tried, or None.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class NotSignedIn(ClaudeNbError):
    """Claude Code has no valid credentials. `status` is the API's HTTP status, or None.

    `reply` holds what there was of the turn, or None.
    """

    def __init__(self, message: str, status: int | None = None, reply: Reply | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reply = reply


class InvalidName(ClaudeNbError, ValueError):
    """The name cannot be a session's name."""


class SessionNotFound(ClaudeNbError, LookupError):
    """There is no session of that name in this folder."""


class SessionExists(ClaudeNbError):
    """The folder has a session of that name already. `name` is the name, `archived` whether it is hidden."""

    def __init__(self, message: str, name: str = "", archived: bool = False) -> None:
        super().__init__(message)
        self.name = name
        self.archived = archived


class SessionInUse(ClaudeNbError):
    """Another live kernel holds the session.

    `owner` is what is known of that kernel (`kernel` with `pid` and `start`, `notebook`, `host`; empty if
    nothing is), `since` the time in unix seconds from which on it has held the session, or None.
    """

    def __init__(
        self, message: str, owner: Mapping[str, Any] | None = None, since: float | None = None
    ) -> None:
        super().__init__(message)
        self.owner = dict(owner or {})
        self.since = since


class SessionLost(ClaudeNbError):
    """The session's history is missing or is another conversation's."""


class SessionBusy(ClaudeNbError):
    """Code that the session's own turn runs would prompt it, stop it or wait for it: for itself."""


class ShuttingDown(ClaudeNbError):
    """The kernel or the session is ending and takes no new prompt."""


class TurnFailed(ClaudeNbError):
    """The turn ended without a complete reply.

    `reply` holds what there was of it, `status` the API's HTTP status where one was reported.
    """

    def __init__(self, message: str, reply: Reply | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.reply = reply
        self.status = status


class UnknownModel(TurnFailed):
    """Claude Code cannot use the model that was asked for."""


class PromptRefused(TurnFailed):
    """A hook of the user's refused the prompt; Claude has not read it."""


class SafetyStop(TurnFailed):
    """The API's safeguards stopped the reply."""


class OutOfCredit(TurnFailed):
    """The account cannot pay for the turn."""


class RateLimited(TurnFailed):
    """The API refused with 429, after Claude Code's own retries."""


class Overloaded(TurnFailed):
    """The API refused with 529, after Claude Code's own retries."""


class NetworkDown(TurnFailed):
    """The API could not be reached."""


class ProcessDied(TurnFailed):
    """The Claude Code process ended in mid-turn. `returncode` as `subprocess` gives it, or None."""

    def __init__(self, message: str, reply: Reply | None = None, returncode: int | None = None) -> None:
        super().__init__(message, reply)
        self.returncode = returncode


class NotAnswering(TurnFailed):
    """The Claude Code process is there, but has not answered in its time."""


class TurnInterrupted(KeyboardInterrupt):
    """The person interrupted the turn.

    A `KeyboardInterrupt`, so that a loop, Run All and a script stop as they would for any other
    interrupted cell; `reply` holds the text so far. IPython shows it in one line.
    """

    def __init__(self, message: str = "interrupted", reply: Reply | None = None) -> None:
        super().__init__(message)
        self.reply = reply

    def _render_traceback_(self) -> list[str]:
        """Called by IPython instead of printing a traceback."""
        return as_one_line(self)


def as_one_line(error: BaseException, words: str | None = None) -> list[str]:
    """Return what IPython is to show of the error, and take our frames off its traceback.

    A debugger (`%pdb on`) then stops where the user's code is.
    """
    last = trace = error.__traceback__
    while trace is not None and not _is_ours(trace.tb_frame.f_code.co_filename):
        if not _is_ipythons(trace.tb_frame.f_globals):
            last = trace
        trace = trace.tb_next
    if last is not None and trace is not None and not _is_ours(last.tb_frame.f_code.co_filename):
        last.tb_next = None
    return [f"{type(error).__name__}: {error if words is None else words}"]


def _is_ours(file: str) -> bool:
    return file.startswith(_PACKAGE)


def _is_ipythons(names: Mapping[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] in ("IPython", "ipykernel")
