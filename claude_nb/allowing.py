"""What Claude may see and do: what stands behind /context, /permissions and /trust."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from claude_nb.answers import Answer, Mistake, Table, Verbatim, as_subject, wait_for
from claude_nb.asking import rules
from claude_nb.trust import (
    ALL_SOURCES,
    FolderSettings,
    Rules,
    managed_rules,
    trusted_by_claude_code,
    user_rules,
)

if TYPE_CHECKING:
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager


_FOLDER = "the folder "
_WHY_GIT = "git runs what a folder's `.git/config` names, until `%claude /trust` is said for the folder"


def context(manager: SessionManager, words: list[str], session: Session) -> Answer:
    """What would be sent along with the session's next prompt."""
    blocks = manager.context_for(" ".join(words), session=session)
    if not blocks:
        return "Nothing would be sent along: nothing has happened since this session's last turn."
    return Verbatim("\n\n".join(block if isinstance(block, str) else "[an image]" for block in blocks))


def permissions(manager: SessionManager, words: list[str], session: Session) -> Answer:
    """What is allowed in the session, or allow it, or forget it."""
    match words:
        case []:
            return _what_is_allowed(manager, session)
        case ["allow", *rest] if rest:
            return _allow(manager, session, " ".join(rest))
        case ["forget", *rest] if rest:
            return _forget(manager, session, " ".join(rest))
    raise Mistake("Write `%claude /permissions`, `... allow RULE` or `... forget RULE`.")


def _what_is_allowed(manager: SessionManager, session: Session) -> Table:
    folder = Path(session.record.cwd or manager.folder)
    environ = manager.child_environ()
    mode = session.record.permission_mode or manager.permission_mode
    rows = [
        ["reading in the folder, and commands that only read", "Claude Code always allows it"],
        ["looking at variables, cells, errors and figures", "claude_nb always allows it"],
    ]
    if mode == "acceptEdits":
        rows.append(["edits of files in the folder", "mode acceptEdits (`%claude /mode default` ends it)"])
    if mode == "plan":
        rows.append(["a plan, before anything else", "mode plan (`%claude /mode default` ends it)"])
    if manager.permission_policy == "allow_reads":
        rows.append(["tools that only read, anywhere", "permission_policy is 'allow_reads'"])
    rows += [[f"reading in {path}", "add_dirs"] for path in manager.add_dirs]
    kept = [*session.record.rules, *(f"{_FOLDER}{path}" for path in session.record.allowed_dirs)]
    rows += [[rule, "always allowed in this session"] for rule in kept]
    rows += _rows(managed_rules(), "the settings of this machine")
    if "user" in manager.keeper.setting_sources(folder):
        rows += _rows(user_rules(environ), "your own settings of Claude Code")
    rows += _rows_of_folder(manager, folder)
    rows += [[rule, f"asks you: {_WHY_GIT}"] for rule in manager.keeper.asked_about(folder)]
    notes = ["`%claude /permissions forget RULE` takes back what was always allowed."] if kept else []
    return Table(["what", "why"], [*rows, ["everything else", _the_rest(manager)]], notes)


def _rows(found: Rules, where: str) -> list[list[str]]:
    rows = [[rule, where] for rule in found.allow]
    rows += [[rule, f"asks you: {where}"] for rule in found.ask]
    return rows + [[rule, f"is refused: {where}"] for rule in found.deny]


def _rows_of_folder(manager: SessionManager, folder: Path) -> list[list[str]]:
    """The rules that the folder brings, where its settings are loaded."""
    sources = manager.keeper.setting_sources(folder)
    files = {"project": ".claude/settings.json", "local": ".claude/settings.local.json"}
    followed = trusted_by_claude_code(folder, manager.child_environ())
    rows = []
    for found in [Rules.of(folder / file) for source, file in files.items() if source in sources]:
        if followed:
            rows += _rows(found, "the folder's settings")
        else:
            ignored = "ignored: Claude Code itself does not trust the folder"
            rows += [[rule, ignored] for rule in found.allow]
            rows += _rows(replace(found, allow=()), "the folder's settings")
    return rows


def _the_rest(manager: SessionManager) -> str:
    if manager.permission_policy == "deny":
        return "is refused: permission_policy is 'deny'"
    if not manager.surroundings.stage().someone:
        return "is refused: nobody is there to be asked"
    return "asks you, each time"


def _allow(manager: SessionManager, session: Session, rule: str) -> str:
    if not rules.is_rule(rule):
        raise Mistake(
            f"{rule!r} is no rule. Write it as Claude Code does: a tool, such as `mcp__kernel__run_cell`, or "
            "a tool with what it may do, such as `Bash(git diff:*)`."
        )
    session.record.allow([rule])
    told = f"{rule} is allowed in {session.called}{_from_when(manager, session)}."
    git = rule.startswith("Bash(git") and manager.keeper.asked_about(
        Path(session.record.cwd or manager.folder)
    )
    return f"{told} Here it asks you all the same: {_WHY_GIT}." if git else told


def _forget(manager: SessionManager, session: Session, rule: str) -> str:
    known = [*session.record.rules, *session.record.allowed_dirs]
    if rule not in known:  # as the table has it
        rule = rule.removeprefix(_FOLDER)
    if rule not in known:
        there = ", ".join(known) or "none"
        raise Mistake(f"{rule!r} was not always allowed in {session.called}. What was: {there}.")
    session.record.ask_again(rule)
    return f"{rule} is asked about again in {session.called}{_from_when(manager, session)}."


def _from_when(manager: SessionManager, session: Session) -> str:
    """Claude Code reads rules when it starts; an idle process is ended so that the next prompt starts one."""
    manager.keeper.save(session)
    if session.life.now is None:
        return ""
    waiting = f"{as_subject(session)} is still being suspended"
    suspended = wait_for(session.suspend(), manager.stop_patience, waiting)
    return "" if suspended else ", once the running turn has ended and `%claude /suspend` was said"


def trust(manager: SessionManager, words: list[str]) -> Answer:
    """Load this folder's own settings from now on, or no more."""
    folder = manager.folder
    if words == ["--forget"]:
        manager.trusted.remove(folder)
        return f"The settings of {folder} are not loaded any more.{_restarted(manager)}"
    if words:
        raise Mistake("Write `%claude /trust` or `%claude /trust --forget`.")
    manager.trusted.add(folder)
    there = FolderSettings.of(folder)
    told = f"The settings of {folder} are loaded from now on. {_what_there_is(there)}{_restarted(manager)}"
    if there.rules and not trusted_by_claude_code(folder, manager.child_environ()):
        told += (
            f"\nIts permission rules are ignored ({', '.join(there.rules)}): Claude Code follows them only "
            "once you have accepted its own trust dialog, by running `claude` in this folder in a terminal."
        )
    return Verbatim(told)


def _what_there_is(there: FolderSettings) -> str:
    """Its files, and the programs that they have run."""
    found = f"It has {', '.join(there.files)}." if there.files else "It has none now."
    programs = [f"hooks ({', '.join(there.hooks)})"] if there.hooks else []
    programs += [f"MCP servers ({', '.join(there.servers)})"] if there.servers else []
    return f"{found} They run programs: {' and '.join(programs)}." if programs else found


def _restarted(manager: SessionManager) -> str:
    """Settings are read when a process starts."""
    live = list(manager.live)
    kept = [
        session.called
        for session in live
        if not wait_for(
            session.suspend(), manager.stop_patience, f"{as_subject(session)} is still being suspended"
        )
    ]
    return f" Once suspended: {', '.join(kept)}." if kept else ""


def hint(manager: SessionManager) -> str | None:
    """For the first turn in a folder whose own settings are not loaded; None where there are none."""
    if manager.folder in manager.trusted or set(ALL_SOURCES) <= set(manager.setting_sources):
        return None
    memory = FolderSettings.of(manager.folder).memory
    if not memory:
        return None
    return f"This folder's {memory[0]} is not read. `%claude /trust` loads it with the folder's settings."
