"""The commands of `%claude /COMMAND ...` that steer sessions. Each is a function with its usage as docstring.

A command answers with a `Table` or with lines of text; `magics.py` shows them. Claude Code's own commands
are not here: they are passed on to it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb.answers import Answer, Mistake, Table, as_subject, wait_for
from claude_nb.losing import forced, refuse_to_lose
from claude_nb.names import quoted
from claude_nb.overview import SessionInfo
from claude_nb.prompt_line import split_arguments
from claude_nb.words import counted

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager

# Starting takes a third of a second, with the import of the SDK two; a loaded machine gets more.
_START_PATIENCE = 60.0

# What follows them is a prompt or a rule, in which a quotation mark is one.
_TAKE_TEXT = frozenset({"context", "permissions"})

# The session that a name means, or none: the current one in a cell, the one that is shown in a chat.
Meant = Callable[["str | None"], "Session"]
Command = Callable[["SessionManager", list[str], Meant], Answer]

# These need a cell or are about the prompt itself; who takes prompts does them.
# Of a session whose history could not be written.
_LOST = "what was said in it is lost, and `%claude -n` starts anew"
NEED_A_CELL = ("help", "clear", "show", "code", "widget")


def run(name: str, manager: SessionManager, arguments: str, meant: Meant | None = None) -> Answer:
    """Run one of our commands. Raises `PromptLineError` and whatever the manager refuses with.

    `meant` gives the session that a name means, or no name; by default the current one.
    """
    words = arguments.strip().split(" ") if name in _TAKE_TEXT else split_arguments(arguments)
    return COMMANDS[name](manager, words if words != [""] else [], meant or manager.existing)


def check_known(session: Session, command: str) -> None:
    """Raise `Mistake` for a /word that neither we nor Claude Code know; it may have to be started for that.

    Claude Code sends an unknown /word to the model as text; a typing error should not cost a turn.
    """
    from claude_nb.prompt_line import nearest

    if not session.commands:
        start(session)
    theirs = session.commands
    if theirs and command not in theirs:
        near = nearest(command, [*NEED_A_CELL, *COMMANDS, *theirs])
        hint = f" Did you mean /{near}?" if near else " `%claude /help` lists the commands."
        raise Mistake(f"There is no command /{command}.{hint} To send it as text, write `-- /{command}`.")


# -- making and choosing ---------------------------------------------------------------------------


def new(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/new NAME [--model M] [--agent A] [--cwd DIR] [--timeout MIN] [--append-system-prompt T]   make one"""
    options, rest = _options(words, NEW_OPTIONS)
    name = _one(rest, "/new NAME")
    fields: dict[str, Any] = {
        "model": options.get("model"),
        "agent": options.get("agent"),
        "append_system_prompt": options.get("append-system-prompt"),
        "cwd": _folder(options["cwd"]) if "cwd" in options else None,
        "idle_timeout": _minutes(options["timeout"]) if "timeout" in options else None,
    }
    former = _current(manager)
    session = manager.new(name, **fields)
    if session.record.agent is not None:
        _check_agent(manager, session, former)
    return f"{session.name} is the current session now."


def _current(manager: SessionManager) -> str | None:
    return next((info.name for info in manager.overview() if info.current), None)


def _check_agent(manager: SessionManager, session: Session, former: str | None) -> None:
    """Claude Code ignores an unknown agent in silence; ask it which ones it has."""
    agent = session.record.agent
    try:
        start(session)
        if agent not in session.agents:
            there = ", ".join(session.agents) or "none"
            raise Mistake(f"Claude Code has no agent {agent!r}. It has: {there}.")
    except BaseException:  # an Interrupt, too, leaves nothing behind
        manager.discard(session)
        if former is not None:
            manager.switch(former)
        raise


def switch(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/switch NAME   talk to another session; this one goes on"""
    session = manager.switch(_one(words, "/switch NAME"))
    return f"{session.name} is the current session now."


def rename(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/rename OLD NEW   give a session another name"""
    if len(words) != 2:
        raise Mistake("Write `%claude /rename OLD NEW`; quote names with spaces.")
    return f"{words[0]} is called {manager.rename(*words).name} now."


def fork(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/fork NAME [NEW]   copy a session with its conversation"""
    if not 1 <= len(words) <= 2:
        raise Mistake("Write `%claude /fork NAME [NEW]`; quote names with spaces.")
    copy = manager.fork(*words)
    return f"{copy.name} is a copy of {words[0]}. `%claude /switch {quoted(copy.name)}` goes there."


def archive(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/archive [NAME]   stop a session and hide it; its conversation stays"""
    force, words = forced(words)
    given = _maybe_one(words, "/archive [NAME]")
    session = meant(given)
    refuse_to_lose(manager, [session], "archived", force=force)
    who = as_subject(session, given)
    manager.archive(session.name)
    if who != session.name:
        return f"{who} is archived. `%claude /switch NAME` brings it back; `/sessions --all` has its name."
    return f"{who} is archived. `%claude /switch {quoted(who)}` brings it back."


# -- looking ---------------------------------------------------------------------------------------


def sessions(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/sessions [--all]   the sessions of this folder, or all of yours"""
    if words not in ([], ["--all"]):
        raise Mistake("Write `%claude /sessions` or `%claude /sessions --all`.")
    everyone = bool(words)
    rows = manager.overview(everyone=everyone, archived=everyone)
    if not rows:
        return "There is no session in this folder yet. Your first prompt makes one."
    live = sum(info.live for info in rows)
    notes = [f"{live} live processes, about 200 MB each."] if live > manager.many_live else []
    return sessions_table(rows, everyone=everyone, notes=notes)


def sessions_table(rows: Sequence[SessionInfo], *, everyone: bool, notes: Sequence[str] = ()) -> Table:
    """The table of `/sessions`."""
    header = ["", "name", "state", "model", "persona", "turns", "last active"]
    return Table(
        [*header, "folder"] if everyone else header,
        [[*_cells(info), info.folder] if everyone else _cells(info) for info in rows],
        notes,
    )


def _cells(info: SessionInfo) -> list[str]:
    mark = "→" if info.current else ""
    return [mark, info.name, info.state, info.model or "", info.agent or "", str(info.turns), info.active]


def status(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/status [NAME]   everything about one session"""
    session = meant(_maybe_one(words, "/status [NAME]"))
    facts = manager.status(session)
    return Table(["", ""], [[name, value] for name, value in facts.items()])


def history(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/history [N]   the last N prompts and replies (5)"""
    from claude_nb.history import told

    number = _number(_maybe_one(words, "/history [N]") or "5", "/history [N]")
    return told(meant(None), number)


# -- the process -----------------------------------------------------------------------------------


def suspend(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/suspend [NAME]   end the idle process until the next prompt"""
    force, words = forced(words)
    given = _maybe_one(words, "/suspend [NAME]")
    session = meant(given)
    lost = refuse_to_lose(manager, [session], "suspended", force=force)
    who = as_subject(session, given)
    if wait_for(session.suspend(force=lost), manager.stop_patience, f"{who} is still being suspended"):
        return f"{who} is suspended; {_LOST if lost else 'the next prompt resumes it'}."
    alarms = session.conversation.scheduled.ahead(time.time())
    if alarms:
        listed = ", ".join(alarm.in_words() for alarm in alarms)
        return f"{who} stays awake for what Claude has scheduled: {listed}. `/stop` ends that, too."
    return f"{who} is {session.state}, so there is nothing to suspend."


def resume(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/resume [NAME]   have the process ready ahead of the next prompt"""
    given = _maybe_one(words, "/resume [NAME]")
    session = meant(given)
    start(session)
    return f"{as_subject(session, given)} is ready."


def start(session: Session) -> None:
    """Have the session's process there. Raises what keeps it from starting."""
    wait_for(session.wake(), _START_PATIENCE, f"Claude Code does not answer for {session.called}")


def interrupt(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/interrupt [NAME]   end the running turn, keep the session"""
    given = _maybe_one(words, "/interrupt [NAME]")
    session = meant(given)
    turn = session.running
    if turn is None:
        return f"{as_subject(session, given)} has no running turn."
    turn.interrupt()
    ended = turn.wait(manager.interrupt_timeout)
    return f"The turn of {given or session.called} {'was interrupted' if ended else 'is being interrupted'}."


def stop(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/stop [NAME | --all]   end the process; the conversation stays"""
    force, words = forced(words)
    if words == ["--all"]:
        live = list(manager.live)
        refuse_to_lose(manager, live, "stopped", force=force)
        manager.stop_all()
        return f"{counted(len(live), 'session')} stopped; the next prompt resumes each."
    given = _maybe_one(words, "/stop [NAME | --all]")
    session = meant(given)
    lost = refuse_to_lose(manager, [session], "stopped", force=force)
    who = as_subject(session, given)
    wait_for(session.stop(), manager.stop_patience, f"{who} is still being stopped")
    return f"{who} is stopped; {_LOST if lost else 'the next prompt resumes it'}."


def timeout(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/timeout [MINUTES]   suspend this session after so many idle minutes (1 to 120, 0 is never)"""
    session = meant(None)
    given = _maybe_one(words, "/timeout [MINUTES]")
    if given is not None:
        session.set_idle_timeout(_minutes(given))
    seconds = manager.keeper.idle_timeout_of(session)
    if not seconds:
        return f"{as_subject(session)} is never suspended."
    return f"{as_subject(session)} is suspended after {seconds / 60:g} idle minutes."


# -- how it works ----------------------------------------------------------------------------------


def model(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/model [M]   show the model, or use another from the next prompt on (`default`: Claude Code's own)"""
    session = meant(None)
    given = _maybe_one(words, "/model [M]")
    if given is not None:
        session.use_model(None if given == "default" else given)
    return f"{as_subject(session)} uses {session.record.model or 'the default model'}."


def mode(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/mode [default | plan | acceptEdits]   Claude Code's permission mode of this session"""
    session = meant(None)
    given = _maybe_one(words, "/mode [default | plan | acceptEdits]")
    if given is not None:
        if given not in MODES:
            raise Mistake(f"There is no mode {given!r}. Choose one of {', '.join(MODES)}.")
        wait_for(session.use_mode(given), manager.interrupt_timeout, "Claude Code did not take the mode")
    return f"{as_subject(session)} is in mode {session.record.permission_mode or manager.permission_mode}."


def output(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/output [quiet | normal | verbose]   how tool calls are shown: not at all, folded, whole"""
    given = _maybe_one(words, "/output [quiet | normal | verbose]")
    if given is not None:
        if given not in OUTPUTS:
            raise Mistake(f"There is no output mode {given!r}. Choose one of {', '.join(OUTPUTS)}.")
        manager.output_mode = given
    return f"Tool calls are {OUTPUTS[manager.output_mode]}."


def wait(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/wait   wait for the turns that run in the background"""
    _none(words, "/wait")
    waited = 0
    for session in list(manager.sessions.values()):
        for turn in session.pending:
            session.wait_for(turn)
            waited += 1
    return f"{counted(waited, 'turn')} ended." if waited else "No turn is running."


# -- what Claude may see and do --------------------------------------------------------------------


def context(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/context [PROMPT]   what would be sent along with the next prompt"""
    from claude_nb import allowing

    return allowing.context(manager, words, meant(None))


def permissions(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/permissions [allow RULE | forget RULE]   what is allowed now in this session, and why"""
    from claude_nb import allowing

    return allowing.permissions(manager, words, meant(None))


def trust(manager: SessionManager, words: list[str], meant: Meant) -> Answer:
    """/trust [--forget]   load this folder's own settings, hooks and MCP servers: you trust who wrote them"""
    from claude_nb import allowing

    return allowing.trust(manager, words)


NEW_OPTIONS = ("model", "agent", "cwd", "timeout", "append-system-prompt")
MODES = ("default", "plan", "acceptEdits")
OUTPUTS = {
    "quiet": "not shown (quiet)",
    "normal": "shown folded (normal)",
    "verbose": "shown unfolded (verbose)",
}

COMMANDS: dict[str, Command] = {
    command.__name__: command
    for command in (
        sessions, new, switch, status, timeout, suspend, resume, interrupt, stop, archive, rename, fork,
        model, output, mode, history, wait, context, permissions, trust,
    )
}  # fmt: skip


# -- arguments -------------------------------------------------------------------------------------


def _options(words: list[str], known: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The `--name value` pairs and the other words."""
    found: dict[str, str] = {}
    rest: list[str] = []
    given = iter(words)
    for word in given:
        if not word.startswith("--"):
            rest.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name not in known:
            there = ", ".join(f"--{option}" for option in known)
            raise Mistake(f"There is no option --{name}. There are: {there}.")
        if not equals:
            value = next(given, "")
        if not value or (not equals and value.startswith("--")):
            raise Mistake(f"--{name} needs a value.")
        found[name] = value
    return found, rest


def _one(words: list[str], usage: str) -> str:
    if len(words) != 1:
        raise Mistake(f"Write `%claude {usage}`; quote a name with spaces.")
    return words[0]


def _maybe_one(words: list[str], usage: str) -> str | None:
    return _one(words, usage) if words else None


def _none(words: list[str], usage: str) -> None:
    if words:
        raise Mistake(f"Write `%claude {usage}` alone.")


def _number(word: str, usage: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise Mistake(f"{word!r} is not a number of 1 or more. Write `%claude {usage}`.")
    return int(word)


def _minutes(word: str) -> float:
    """Seconds of an idle timeout given in minutes."""
    try:
        minutes = float(word)
    except ValueError:
        minutes = -1.0
    if minutes != 0 and not 1 <= minutes <= 120:
        raise Mistake(f"A timeout is in minutes, from 1 to 120, and 0 is never; {word!r} is not.")
    return minutes * 60


def _folder(word: str) -> str:
    folder = Path(word).expanduser().absolute()
    if not folder.is_dir():
        raise Mistake(f"There is no folder {folder}. Make it first, or name another with --cwd.")
    return str(folder)


def as_dicts(rows: Sequence[SessionInfo]) -> list[dict[str, Any]]:
    """The rows as plain data, for JSON."""
    return [dataclasses.asdict(info) for info in rows]
