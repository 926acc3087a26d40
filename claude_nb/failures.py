"""What the user is told when Claude Code fails: one typed error, in one line, with the cure.

The sources are the SDK's exceptions, the CLI's stderr, and results with `is_error` (its subtype says
"success" all the same). An HTTP status is known from the result or from the last retry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from claude_nb.errors import (
    ClaudeNbError,
    ClaudeNotFound,
    NetworkDown,
    NotAnswering,
    NotSignedIn,
    OutOfCredit,
    Overloaded,
    ProcessDied,
    RateLimited,
    SafetyStop,
    SessionLost,
    TurnFailed,
    UnknownModel,
)

if TYPE_CHECKING:
    from claude_nb.process import Launch

# Exit statuses of a guard or a shell that could not run the CLI.
_CANNOT_RUN = (126, 127)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_SIGN_IN = (
    "Sign in with `jupyter claude login` in a terminal, or set `os.environ['ANTHROPIC_API_KEY']`, "
    "then run the cell again."
)


def not_signed_in(status: int | None) -> NotSignedIn:
    """Claude Code has no credentials, or the API does not accept them."""
    known = f" (the API answered {status})" if status else ""
    return NotSignedIn(f"Claude Code is not signed in{known}. {_SIGN_IN}", status)


def failed_to_start(
    error: Exception, stderr: Iterable[str], how: Launch, returncode: int | None = None
) -> ClaudeNbError:
    """Return why there is no process, from the SDK's exception, what the CLI said and how it ended."""
    said = " ".join(line.strip() for line in stderr if line.strip())
    if "No conversation found" in said or "No conversation found" in str(error):
        return SessionLost(
            f"Claude Code has no history of conversation {how.session_id} any more. "
            "Its file may have been deleted. Use `%claude -n ...` to start anew under the same name."
        )
    if not how.cwd.is_dir():
        return ClaudeNbError(
            f"The session's folder {how.cwd} does not exist. Create it, or start a new session."
        )
    named = f"cli_path {how.cli_path!r}" if how.cli_path else "Claude Code"
    cure = "Check `%config SessionManager.cli_path`, or run" if how.cli_path else "Run"
    cure += " `jupyter claude doctor`; the next prompt tries again."
    if returncode in _CANNOT_RUN or type(error).__name__ == "CLINotFoundError":
        return ClaudeNotFound(
            f"{named} could not be started: {shorten(said or str(error))} {cure}", how.cli_path
        )
    if returncode is not None:
        words = f" It said: {shorten(said)}" if said else ""
        return ProcessDied(
            f"{named} ended while it was starting ({exit_words(returncode)}).{words} {cure}",
            returncode=returncode,
        )
    if "Control request timeout" in str(error):
        return NotAnswering(f"{named} was started but has not answered for a minute. {cure}")
    return ClaudeNbError(f"{named} could not be started: {shorten(said or repr(error))} {cure}")


def foreign_history(name: str, expected: str, found: str) -> SessionLost:
    """A resumed session has answered with another conversation than it was started for."""
    return SessionLost(
        f"Session '{name}' was resumed, but Claude Code answered with another conversation ({found} instead "
        f"of {expected}), so the prompt was stopped. Use `%claude -n` to start anew under this name, or "
        "`%claude /sessions` to choose another."
    )


def process_died(returncode: int | None, stderr: Iterable[str], *, kept: bool = True) -> ProcessDied:
    """Return the error of a turn whose process ended; `kept` if the conversation had begun before."""
    kept_words = "The conversation is kept; the" if kept else "The"
    return ProcessDied(
        f"Claude Code ended in the middle of the turn ({exit_words(returncode)}).{_said(stderr)} "
        f"{kept_words} prompt was not sent again. The next prompt starts it anew.",
        returncode=returncode,
    )


def process_ended(returncode: int | None, stderr: Iterable[str]) -> ProcessDied:
    """Return the error of what was asked of a process that had just ended."""
    return ProcessDied(
        f"Claude Code has ended ({exit_words(returncode)}).{_said(stderr)} Nothing was sent. "
        "Run the cell again; the next prompt starts it anew.",
        returncode=returncode,
    )


def not_answering(what: str, seconds: float) -> NotAnswering:
    """Return the error of a control request that got no answer; `what` was asked of Claude Code."""
    return NotAnswering(
        f"Claude Code was asked to {what} and has not answered within {seconds:.0f} s. Nothing was sent. "
        "Try again; if that does not help, `%claude /stop` ends the process; the next prompt starts it anew."
    )


def _said(stderr: Iterable[str]) -> str:
    tail = [line for line in stderr if line.strip()][-3:]
    return f" It said: {shorten(' / '.join(tail))}" if tail else ""


def exit_words(returncode: int | None) -> str:
    """How a process ended, for a reader."""
    if returncode is None:
        return "its exit status is not known"
    if returncode < 0 or returncode > 128:
        return f"signal {-returncode if returncode < 0 else returncode - 128}"
    return f"exit status {returncode}"


def failure_of(result: Any, last_retry: int | None, model: str | None) -> ClaudeNbError:
    """The error of a result message with `is_error`."""
    text = result_words(result)
    status = result.api_error_status or last_retry
    lowered = text.lower()
    if result.stop_reason == "refusal":
        return SafetyStop(_stopped_words(text), status=status)
    if status in (401, 403) or _is_about_signing_in(lowered):
        return not_signed_in(status)
    if "credit balance" in lowered:
        return OutOfCredit(
            "The account's credit balance is too low for this turn. Add credit in the Anthropic Console "
            "(Plans & Billing), then send the prompt again.",
            status=status,
        )
    if _is_about_model(status, lowered):
        return unknown_model(model, status=status)
    if status == 429:
        return RateLimited(
            "The API's rate limit is reached (429); Claude Code has tried again and gave up. "
            f"{shorten(text)} Wait a few minutes, then send the prompt again.",
            status=status,
        )
    if status == 529:
        return Overloaded(
            "The API is overloaded (529); Claude Code has tried again and gave up. "
            "Send the prompt again later.",
            status=status,
        )
    if status is None and _is_about_network(lowered):
        return NetworkDown(
            "The API could not be reached; Claude Code has tried again and gave up. "
            f"{shorten(text)} Check the network (and ANTHROPIC_BASE_URL, HTTPS_PROXY), "
            "then send the prompt again."
        )
    if "prompt is too long" in lowered or "context window" in lowered:
        return TurnFailed(
            f"The conversation no longer fits into the model's context: {shorten(text)} "
            "`%claude /compact` shortens it, `%claude /clear` starts it afresh; then send the prompt again.",
            status=status,
        )
    return TurnFailed(
        f"The turn failed: {shorten(text)} The session is ready for another prompt.", status=status
    )


def _stopped_words(text: str) -> str:
    """What Claude Code says about the safeguards, without the addresses and ids that follow."""
    words = re.split(r"Learn more:|Request ID:|Message ID:", text.removeprefix("API Error: "))[0]
    return shorten(words, 400) or "The API's safeguards stopped the reply."


def unknown_model(
    model: str | None, error: Exception | None = None, *, status: int | None = None
) -> UnknownModel:
    """The model cannot be used; `error` is what Claude Code said when it was asked to."""
    named = f"the model {model!r}" if model else "its model"
    said = f" ({shorten(str(error)).rstrip('.')})" if error is not None and str(error) else ""
    return UnknownModel(
        f"Claude Code cannot use {named}: it does not exist or your account has no access to it{said}. "
        "Choose another one with `-m`, for example `-m sonnet`.",
        status=status,
    )


def result_words(result: Any) -> str:
    """The most telling text of a failed result."""
    errors = "; ".join(str(error) for error in result.errors or [])
    return errors or str(result.result or "") or str(result.subtype)


def _is_about_model(status: int | None, lowered: str) -> bool:
    return "model" in lowered and (
        status == 404 or "not exist" in lowered or "not found" in lowered or "access to it" in lowered
    )


def _is_about_signing_in(lowered: str) -> bool:
    return any(words in lowered for words in ("not logged in", "/login", "invalid api key"))


def _is_about_network(lowered: str) -> bool:
    return any(
        word in lowered
        for word in (
            "connection",
            "connect",
            "network",
            "timed out",
            "timeout",
            "econn",
            "enotfound",
            "socket",
        )
    )


def shorten(text: str, length: int = 300) -> str:
    """The text in one line of at most `length` characters, ending like a sentence."""
    line = " ".join(_ESCAPES.sub("", text).split())
    if len(line) > length:
        cut = line[: length - 1]
        address = cut.rfind("://")
        if address >= 0 and " " not in cut[address:]:  # half an address leads nowhere
            cut = cut[: cut.rfind(" ") + 1]
        line = cut + "…"
    return line if line.endswith((".", "!", "?", "…")) or not line else line + "."
