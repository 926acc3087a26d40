"""Claude Code in a Jupyter notebook: persistent, streaming sessions that belong to the kernel.

`%load_ext claude_nb`, then `%claude`, `%%claude`, and from Python `claude_nb.manager()`. Loading starts no
process and imports nothing slow; that comes with the first prompt.

The map, each with one job; imports go downwards only:

    magics        %claude: parse, ask, show            cli         jupyter claude
    chat/         a session as a panel in the notebook
    server/       the Jupyter server extension; shares only files with a kernel
    everywhere    the sessions of all kernels, from files: for cli and server
    commands      the commands that steer sessions     completion  Tab in %claude lines
    losing        asks before what Claude Code could not write is lost
    allowing      the commands about what Claude may see and do
    answers       what commands answer with        help        what /help says
    extension     what loading adds to a shell; the one manager of a kernel
    session_manager   what one may do with a kernel's sessions, and their end
    roster        which sessions a kernel uses: meant, made, claimed, let go of
    configuration     what can be configured
    keeper        what a session needs of its kernel
    shutdown      the graceful end, in phases           overview    what /sessions and /status tell
    session       one conversation, as anybody may use it from any thread
    conversation  what a session does in the portal's loop: Claude Code's messages, interrupts, its end
    prompts       those that wait, and how one is seen through      flag    an event, waited for with a bound
    ends          how its turns end, and what is set down of them
    scheduled     what Claude wants to be woken for, which keeps it awake
    idle          the clock that suspends it            signs       signs of life while it works
    memory        a watch over what its processes take
    life          the process behind a session as it comes and goes
    attribution   whose message is it                   announced   what Claude Code itself changes
    process       one live Claude Code process, through the vendor's SDK
    shadows       why something cannot be imported
    launch        how it is started: the CLI's path, the guard's shim, what the child must not see
    sweep         ends what dead kernels and dead guards have left
    doing         what a session is doing, as its record says it
    registry      records: what is known of each session from one kernel to the next
    notebooks     which notebook a conversation belongs to, through renames
    claims        which live kernel uses a session      locks       locks that die with their process
    processes     looking at and ending processes that are provably ours
    watch         noticing at once that a process has ended
    transcript    where Claude Code keeps a conversation's history; our copy of it
    recorded      a conversation's messages, from the end of Claude Code's file
    history       what was said in a conversation
    turn          Turn: waiting for one prompt's reply from any thread or loop
    portal        the event-loop thread                 event_loop  its loop, whatever policy the user sets
    stalled       a line on stderr when nothing comes where nobody sees it
    servers       the MCP servers of a session, and which of them have failed
    spending      what each turn has cost
    notices       what Claude Code says to the person, in one line each
    turn_log      the blocks of a turn under way, built by applying messages; no I/O
    reply         blocks and Reply
    state         states, events, transition table
    failures      Claude Code's failures as typed errors
    errors        the tree of exceptions
    names         what a session may be called          words       times as a reader says them
    masking       keys and tokens made unreadable in what is shown, saved and told
    quoted        those of tools where Claude's own words repeat them
    private       files for this user's eyes only       logfile     one log a kernel
    prompt_line   options, commands and prompt of a magic
    verbatim      prompts reach the magic as typed      same_cell   in the cell that loads, too
    guard         a program: the parent of one CLI, ends every descendant; imports nothing of ours
    trust         which folders' own settings are loaded
    asking/       may this tool run: questions, cards, rules, the audit log
    kernel/       what we know of a kernel; what Claude sees of it and does in it
    render/       Markdown made harmless, cards, the live output
    offline/      the loopback stand-in for the Messages API
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from claude_nb.chat.widget import ChatWidget
    from claude_nb.reply import Reply
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager
    from claude_nb.turn import Turn

__version__ = "0.1.0"

__all__ = [
    "ChatWidget",
    "Reply",
    "Session",
    "SessionManager",
    "Turn",
    "load_ipython_extension",
    "manager",
    "unload_ipython_extension",
]

_HOMES = {
    "ChatWidget": "chat.widget",
    "Reply": "reply",
    "Session": "session",
    "SessionManager": "session_manager",
    "Turn": "turn",
}


def __getattr__(name: str) -> Any:
    """Public names and errors, imported when they are asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"claude_nb.{_HOMES[name]}"), name)
    errors = importlib.import_module("claude_nb.errors")
    try:
        return getattr(errors, name)
    except AttributeError:
        raise AttributeError(f"module 'claude_nb' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def manager() -> SessionManager:
    """This kernel's SessionManager, made if there is none; also works without IPython."""
    from claude_nb.extension import the_manager

    return the_manager()


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Called by a Jupyter server that has the extension enabled."""
    return [{"module": "claude_nb.server"}]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%load_ext claude_nb`: adds the magics. Starts no process, sends and writes nothing."""
    from claude_nb.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%unload_ext claude_nb`: ends the processes and leaves the shell as it was found."""
    from claude_nb.extension import unload

    unload(shell)
