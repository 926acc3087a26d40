"""What a session needs of its kernel: how its process is started, how long to wait, where its record is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_nb import claims, transcript
from claude_nb.answers import as_subject
from claude_nb.asking import rules
from claude_nb.doing import note_now
from claude_nb.errors import ClaudeNbError, SessionInUse, SessionLost
from claude_nb.kernel.tools import INSTRUCTIONS, SERVER, KernelTools
from claude_nb.process import Answer, Launch
from claude_nb.registry import Record
from claude_nb.state import State
from claude_nb.sweep import take_over
from claude_nb.trust import ALL_SOURCES
from claude_nb.turn import Awaited, Told, Turn

if TYPE_CHECKING:
    from claude_nb.kernel.surroundings import Stage
    from claude_nb.reply import ToolUseBlock
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager

log = logging.getLogger(__name__)

# Seconds after a dead kernel in which its guard ends what is left: its grace and a little more.
GUARD_GRACE = 2.0
# We go by what Claude Code then tells of its state, whatever anybody has set.
_NEEDED = {"CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1"}
# Seconds within which Claude Code has written what it has said.
_WRITING = 2.0
# No display has this name, so nothing changes on any page.
_NO_DISPLAY = "claude_nb is at work"


class SessionKeeper:
    """Answers a manager's sessions from its configuration and its registry."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        # What the readers of which session know of files that cannot be written.
        self._told: set[tuple[str, str]] = set()

    @property
    def interrupt_timeout(self) -> float:
        """Seconds that an interrupted turn gets."""
        return float(self._manager.interrupt_timeout)

    @property
    def max_restarts(self) -> int:
        """How often a session that crashes is restarted."""
        return int(self._manager.max_restarts)

    @property
    def max_memory(self) -> int | None:
        """Bytes that a session's processes may take; None is any number."""
        limit: int | None = self._manager.max_memory
        return limit

    @property
    def stall_warning(self) -> float:
        """Seconds without a word after which a run that nobody watches says so; 0 is never."""
        return float(self._manager.stall_warning)

    def tell_outside(self, line: str) -> None:
        """Write a line to the process's own stderr, which is in no notebook. Blocks."""
        self._manager.surroundings.own_stderr.write_line(line)

    def launch_of(self, session: Session) -> Launch:
        """How to start the session's process now. Blocks until a dead kernel's guard is gone."""
        record, runtime = session.record, self._manager.registry.runtime
        folder = Path(record.cwd or self._manager.folder)
        self._refuse_too_many(session)
        if not claims.wait_for_process_lock(record.id, runtime, self._manager.stop_timeout + GUARD_GRACE):
            raise SessionInUse(
                f"Processes of session {record.name!r} from before are still being ended. Try again soon."
            )
        if not session.taken_over:
            take_over(self._manager.registry, record)
            session.taken_over = True
        return Launch(
            session_id=record.session_id,
            resume=self._find_history(record),
            cwd=folder,
            lock=claims.process_lock(record.id, runtime),
            cli_path=self._manager.cli_path,
            model=record.model,
            agent=record.agent,
            effort=self._manager.effort,
            append_system_prompt=self._added_prompt(record),
            permission_mode=record.permission_mode or self._manager.permission_mode,
            setting_sources=self.setting_sources(folder),
            add_dirs=tuple(self._manager.add_dirs),
            mcp_servers=self._mcp_servers(),
            environment=dict(self._manager.environment),
            settings=self._settings(record, folder),
            kernel_server=self._kernel_server(session),
            stop_timeout=self._manager.stop_timeout,
        )

    def _is_trusted(self, folder: Path) -> bool:
        return folder in self._manager.trusted

    def setting_sources(self, folder: Path) -> tuple[str, ...]:
        """A folder's own settings can run programs: only those of a trusted one are loaded."""
        if self._is_trusted(folder):
            return ALL_SOURCES
        return tuple(self._manager.setting_sources)

    def _settings(self, record: Record, folder: Path) -> dict[str, Any]:
        """What goes before the person's own settings of Claude Code, whose `env` beats the environment."""
        settings = {"env": {**_NEEDED, **self._manager.environment}}
        return settings | (rules.settings(record, self.asked_about(folder)) or {})

    def asked_about(self, folder: Path) -> tuple[str, ...]:
        """What Claude Code would never ask about, and asks as long as the folder is not trusted."""
        return () if self._is_trusted(folder) else rules.ASKED_UNTIL_TRUSTED

    def _added_prompt(self, record: Record) -> str | None:
        """After Claude Code's own; equal each time, since the API caches what a conversation begins with."""
        notebook = INSTRUCTIONS if self._manager.surroundings.shell is not None else None
        return "\n\n".join(text for text in (notebook, record.append_system_prompt) if text) or None

    def _mcp_servers(self) -> dict[str, Any]:
        """The user's own. One of our server's name would replace it, and be allowed what ours is."""
        servers = dict(self._manager.mcp_servers)
        if SERVER in servers:
            raise ClaudeNbError(
                f"An MCP server of the user's cannot be called {SERVER!r}: that is Claude's view of this "
                "notebook. Give it another name in `SessionManager.mcp_servers`."
            )
        return servers

    def _kernel_server(self, session: Session) -> Callable[[], Any] | None:
        """Claude's view of the kernel; there is none without IPython."""
        around = self._manager.surroundings
        if around.shell is None:
            return None
        return KernelTools(around, lambda: session.conversation.acting, self._manager.desk.offer_stop).server

    # -- what happens in a turn ---------------------------------------------------------------

    async def permit(
        self, session: Session, turn: Turn | None, name: str, tool_input: dict[str, Any], context: Any
    ) -> Answer:
        """Whether a tool may run. In the portal's loop."""
        return await self._manager.permissions.decide(session, turn, name, tool_input, context)

    def tool_ended(self, session: Session, tool: ToolUseBlock) -> None:
        """A tool call has its result, or will never have one."""
        self._manager.audit.ended(session, tool)

    def context_for(self, session: Session, prompt: str) -> Told:
        """What goes before the prompt. Raises `UnknownMention`."""
        return self._manager.surroundings.told(
            session.record.id, prompt, self._manager.folder, self._manager.context_budget
        )

    def asked(self, session: Session, turn: Turn) -> None:
        """The prompt waits to be sent, with what goes before it."""
        told, name, context = turn.told, session.record.id, self._manager.surroundings.context
        if told.mark is not None:
            texts = told.blocks[: len(told.blocks) - len(told.mentioned)]
            context.asked(name, told.mark, [text for text in texts if isinstance(text, str)])
            turn.on_end(lambda: context.ended(name, told.mark))

    def freshen(self, session: Session, turn: Turn) -> None:
        """The turn is about to be sent: it tells what those before it would have told that were not sent."""
        around, mark, name = self._manager.surroundings, turn.told.mark, session.record.id
        if mark is None:
            return
        if around.context.is_forgotten(name, mark):
            turn.told = around.told_again(name, turn.told, self._manager.context_budget)
        else:
            turn.told = replace(turn.told, blocks=(*around.context.carried(name, mark), *turn.told.blocks))
        turn.context = turn.told.blocks

    def told(self, session: Session, turn: Turn) -> None:
        """The prompt with what goes before it was sent."""
        if turn.told.mark is not None:
            self._manager.surroundings.context.sent(session.record.id, turn.told.mark)
        cell = turn.stage.place.cell_id if turn.stage is not None and turn.stage.place is not None else None
        if cell is not None:
            session.record.note_cell(cell)

    def spent(self, session: Session) -> float:
        """What the conversation has cost so far, as Claude Code will count on from when it resumes it."""
        return transcript.spent(session.id, self._manager.child_environ())

    def forgotten(self, session: Session) -> None:
        """Its conversation starts afresh: it has been told nothing."""
        self._manager.surroundings.context.forget(session.record.id)

    def stage(self) -> Stage:
        """Where the caller's output goes."""
        self._manager.surroundings.prepare()
        return self._manager.surroundings.stage()

    def wait_for(self, turn: Turn, timeout: float | None) -> bool:
        """Wait for the turn in the calling thread; an open question of it is asked here now."""
        self._manager.desk.ask_again(turn)
        around = self._manager.surroundings
        wait = around.wait_beside_loop if self._manager.keep_loop_running else around.wait_for
        return wait(turn, timeout)

    def show_life(self, turn: Turn) -> None:
        """Something is at work: a kernel that sends nothing for long may be taken for idle and be ended."""
        if turn.stage is not None and turn.stage.place is not None:
            turn.stage.place.publish({}, display_id=_NO_DISPLAY, update=True)

    def unrecorded(self) -> AbstractContextManager[None]:
        """What the calling thread shows meanwhile is no output of the user's."""
        return self._manager.surroundings.unrecorded()

    def awaited(self, turn: Turn) -> AbstractContextManager[Awaited]:
        """While a coroutine of the calling thread waits for the turn."""
        self._manager.desk.ask_again(turn)
        return self._manager.surroundings.awaited(turn)

    # -- how it is started --------------------------------------------------------------------

    def _find_history(self, record: Record) -> bool:
        """Whether there is a conversation to resume. Raises `SessionLost` if there was one and it is gone."""
        environ = self._manager.child_environ()
        if transcript.has_history(record.session_id, environ):
            return True
        if not record.turns:
            return False
        if transcript.restore(record.session_id, environ, Path(record.cwd), self._manager.registry.data):
            log.info("session %r: its history was put back from our copy", record.name)
            return True
        raise SessionLost(
            f"The history of session {record.name!r} ({record.turns} turns) is gone: Claude Code has no file "
            f"of conversation {record.session_id}, and we have no copy. Use `%claude -n` to start anew under "
            "this name, or `%claude /sessions` to choose another."
        )

    def _refuse_too_many(self, session: Session) -> None:
        live = [other for other in self._manager.live if other is not session]
        if len(live) < self._manager.max_live:
            return
        idle = [repr(other.name) for other in live if other.state is State.IDLE]
        hint = "Wait for a turn to end"
        if idle:
            hint = f"Suspend one with `%claude /suspend NAME` ({', '.join(idle)})"
        raise ClaudeNbError(
            f"There are {len(live)} live sessions, as many as max_live allows. {hint}, or raise it with "
            "`%config SessionManager.max_live`."
        )

    def idle_timeout_of(self, session: Session) -> float:
        """Seconds; the session's own value, else the manager's."""
        own = session.record.idle_timeout
        return self._manager.idle_timeout if own is None else own

    def rename(self, session: Session, name: str) -> None:
        """Use Claude Code's name for the session; where that cannot be, the reader is told. Blocks."""
        try:
            self._manager.registry.rename(session.record, name)
        except (ClaudeNbError, OSError) as error:
            session.news = f"The session is still called '{session.name}' here: {error}"

    def save(self, session: Session) -> None:
        """Write the record, which has changed, if it is still ours. A full disk must not cost the turn."""
        try:
            with self._manager.roster.writing(session) as ours, session.record.lock:
                note_now(session, self._manager.closed)
                if ours:
                    self._manager.registry.save(session.record)
        except OSError as error:
            log.warning("the record of session %r could not be written: %s", session.name, error)
            self._tell_once(
                session, f"{as_subject(session)} is not recorded, so no other kernel can go on with it", error
            )

    def _tell_once(self, session: Session, what: str, error: OSError) -> None:
        """The reader of the next turn is told what could not be written, the first time."""
        if (session.record.id, what) not in self._told:
            self._told.add((session.record.id, what))
            session.news = " ".join(filter(None, (session.news, f"{what}: {error}")))

    def transcript_of(self, session: Session) -> Path | None:
        """Claude Code's file of the conversation, in the folder that its process uses."""
        return transcript.find_transcript(session.id, self._manager.child_environ())

    def unwritten(self, session: Session) -> str | None:
        """Why Claude Code's record of the conversation is not on disk; None if it is, or can be. Blocks."""
        environ = self._manager.child_environ()
        reason = transcript.unwritable(session.id, environ, Path(session.record.cwd or self._manager.folder))
        deadline = time.monotonic() + _WRITING
        while reason is None and session.last_text and not transcript.has_history(session.id, environ):
            if time.monotonic() > deadline:
                return f"nothing of it is in {transcript.config_dir(environ) / 'projects'}"
            time.sleep(_WRITING / 40)
        return reason

    def keep(self, session: Session) -> None:
        """The process has ended: see that the last reply is on disk, and keep a copy of the conversation."""
        environ = self._manager.child_environ()
        path = transcript.find_transcript(session.id, environ)
        if path is None:
            return
        if session.last_text and not transcript.last_reply_recorded(path, session.last_text):
            log.error("session %r: the last reply is not in %s", session.name, path)
            session.news = f"Claude Code did not record the last reply of {session.called}."
        try:
            transcript.keep(session.id, environ, self._manager.registry.data)
        except OSError as error:  # what Claude Code has written is there
            log.warning("no copy of the conversation of %r could be kept: %s", session.name, error)
            self._tell_once(session, f"No second copy of the conversation of {session.called} is kept", error)
