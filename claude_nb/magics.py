"""`%claude` and `%%claude`: parse, ask, show.

The magic is a plain blocking call in the main thread: loops, functions and `%%time` work, Run All keeps
its order and Interrupt arrives at once. It returns the Reply, which it has shown already.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from claude_nb.errors import (
    ClaudeNbError,
    InvalidName,
    SessionExists,
    SessionInUse,
    SessionNotFound,
    ShuttingDown,
    TurnInterrupted,
    as_one_line,
)
from claude_nb.same_cell import TAKEN_APART
from claude_nb.words import counted

if TYPE_CHECKING:
    from claude_nb.prompt_line import Request
    from claude_nb.render.cards import OutputMode
    from claude_nb.render.live import Output
    from claude_nb.reply import Reply
    from claude_nb.session import Session
    from claude_nb.session_manager import SessionManager
    from claude_nb.turn import Turn

_MISTAKES = (InvalidName, ShuttingDown, SessionExists, SessionInUse, SessionNotFound)


@magics_class
class ClaudeMagics(Magics):
    """The magics of one shell."""

    def __init__(self, shell: Any, manager: SessionManager) -> None:
        super().__init__(shell)
        self.manager = manager
        self._refuses = False

    def refuse_this_cell(self) -> None:
        """Its prompts are not as they were typed."""
        self._refuses = True

        def over(*_: Any) -> None:
            """Called by IPython after the cell."""
            self._refuses = False
            self.shell.events.unregister("post_run_cell", over)  # type: ignore[union-attr]

        self.shell.events.register("post_run_cell", over)  # type: ignore[union-attr]

    @no_var_expand
    @line_cell_magic
    def claude(self, line: str, cell: str | None = None) -> Reply | Turn | None:
        """Ask Claude in a persistent session of this kernel. `%claude /help` says more."""
        # Loading is to be quick: what only a prompt or a command needs is imported with the first one.
        from claude_nb.prompt_line import PromptLineError, parse_cell, parse_line

        if self._refuses:
            raise UsageError(TAKEN_APART)

        try:
            request = parse_line(line) if cell is None else parse_cell(line, cell)
            return self._answer(request)
        except (PromptLineError, *_MISTAKES) as error:
            raise UsageError(str(error)) from None
        except (ClaudeNbError, OSError) as error:  # code of the user's does not run here
            in_one_line(error)
            raise
        except ImportError as error:
            from claude_nb.shadows import cannot_import

            failure = cannot_import(error)
            in_one_line(failure)
            raise failure from error

    def _answer(self, request: Request) -> Reply | Turn | None:
        if request.command is not None and self._is_ours(request.command):
            with self.manager.surroundings.unrecorded():  # Claude needs not be told
                self._steer(request, request.command)
            return None
        session = self.manager.session(request.session)
        if request.new:
            from claude_nb.losing import refuse_to_lose

            refuse_to_lose(self.manager, [session], "begun anew", force=request.force)
            self._start_anew(session)
        if not request.prompt.strip():
            if not request.new:
                self._help(request)
            return None
        if request.command is not None:
            from claude_nb.commands import check_known

            check_known(session, request.command)
        return self._ask(session, request)

    def _start_anew(self, session: Session) -> None:
        try:
            self.manager.wait_until_stopped(session, session.new_conversation())
        except KeyboardInterrupt as interrupted:
            from claude_nb.answers import as_subject

            in_one_line(interrupted, f"{as_subject(session)} starts anew, but nothing was sent")
            raise

    def _is_ours(self, command: str) -> bool:
        from claude_nb.commands import COMMANDS

        return command in _SHOWN_HERE or command in COMMANDS

    def _steer(self, request: Request, command: str) -> None:
        """Run one of our own commands."""
        if replace(request, prompt="", command=None, arguments="") != type(request)():
            raise UsageError(f"Options are for prompts; write `%claude /{command}` without one.")
        try:
            if command in _SHOWN_HERE:
                _SHOWN_HERE[command](self, request)
            else:
                from claude_nb.commands import run
                from claude_nb.render.tables import show_answer

                show_answer(self.shell, run(command, self.manager, request.arguments))
        except KeyboardInterrupt as interrupted:
            if not isinstance(interrupted, TurnInterrupted):
                in_one_line(interrupted, f"`/{command}` waits no more; what it waited for goes on")
            raise

    def _ask(self, session: Session, request: Request) -> Reply | Turn:
        from claude_nb.render.live import output_for

        mode = cast("OutputMode", "quiet" if request.quiet else self.manager.output_mode)
        output = output_for(self.shell, mode)
        context = None if request.context else self.manager.context_for(request.prompt, budget=0)
        if self.manager.surroundings.stage().someone:
            session.news = session.news or self.manager.hint_once()
        turn = session.ask(request.prompt, context=context, model=request.model)
        if request.background and output.follow_in_background(turn):
            return self._bind(request, shown(turn))
        reply = follow(turn, output)
        return self._bind(request, shown(turn) if request.background else reply)

    def _bind(self, request: Request, value: Turn | Reply) -> Turn | Reply:
        if request.out is not None:
            self.shell.user_ns[request.out] = value  # type: ignore[union-attr]
        return value

    def _help(self, request: Request) -> None:
        from claude_nb.help import help_text

        print(help_text(request.arguments), end="")

    def _show_chat(self, request: Request) -> None:
        """The session as a panel with buttons."""
        from IPython.display import display

        from claude_nb.chat.widget import ChatWidget

        if getattr(self.shell, "kernel", None) is None:
            raise UsageError("The chat needs a notebook. In a terminal, ask with `%claude PROMPT`.")
        session = self.manager.existing(request.arguments or None)
        display(ChatWidget(session.name, manager=self.manager))

    def _show_last(self, request: Request) -> None:
        from claude_nb.render.live import output_for
        from claude_nb.render.show import show_turn

        words = request.arguments.split()
        names = [word for word in words if word != _UNMASKED]
        given = " ".join(names) or None
        session = self.manager.existing(given)
        turn = session.running or session.last_turn
        if turn is None:
            from claude_nb.answers import as_subject

            who = as_subject(session, given)
            print(f"{who} has had no turn in this kernel. `%claude /history` reads its record.")
        elif _UNMASKED in words:
            show_turn(turn, cast("OutputMode", self.manager.output_mode), masked=False)
        else:
            follow(turn, output_for(self.shell, cast("OutputMode", self.manager.output_mode)))

    def _add_code(self, request: Request) -> None:
        """Put a code block of the last reply into the next cell."""
        session = self.manager.session()
        reply = session.last_turn.reply if session.last_turn is not None else None
        blocks = reply.code if reply is not None else []
        number = request.arguments or "1"
        if not blocks:
            raise UsageError(f"The last reply of {session.called} in this kernel has no code.")
        if not number.isdecimal() or not 1 <= int(number) <= len(blocks):
            raise UsageError(f"The last reply has {counted(len(blocks), 'code block')}; {number!r} is none.")
        self.shell.set_next_input(blocks[int(number) - 1].source.rstrip("\n"))  # type: ignore[union-attr]


# Of `/show`: with the keys and tokens that tools got and gave.
_UNMASKED = "--unmasked"


def _help_for_tooltips() -> str:
    """Called by IPython for `%claude?` and by front ends for Shift-Tab, in place of the docstring."""
    from claude_nb.help import help_text

    return help_text()


ClaudeMagics.claude.getdoc = _help_for_tooltips  # type: ignore[union-attr]


# They need the shell; the others are in commands.py.
_SHOWN_HERE: dict[str, Callable[[ClaudeMagics, Request], None]] = {
    "help": ClaudeMagics._help,
    "show": ClaudeMagics._show_last,
    "code": ClaudeMagics._add_code,
    "widget": ClaudeMagics._show_chat,
}


def follow(turn: Turn, output: Output) -> Reply:
    """Show the turn until its end and return its Reply, or raise as `Turn.result` does."""
    from claude_nb.render.show import running_cell

    with turn.session.unrecorded():
        try:
            wait_and_show(turn, output)
            if turn.person_interrupted:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = turn.interrupted_by_person()
            output.finish(turn)
            raise interrupted from None
        output.finish(turn)
    reply = turn.result()
    reply.shown_in = running_cell()
    return reply


def shown(turn: Turn) -> Turn:
    """The turn, of which the running cell shows what comes."""
    from claude_nb.render.show import running_cell

    turn.shown_in = running_cell()
    return turn


def wait_and_show(turn: Turn, output: Output) -> None:
    """The caller's thread waits, the main one with time for what tools ask for; another shows the turn."""
    place = contextvars.copy_context()
    showing = threading.Thread(
        target=place.run, args=(_show, turn, output), name="claude_nb_cell", daemon=True
    )
    showing.start()
    turn.session.wait_for(turn)
    showing.join(_LAST_UPDATE)


def _show(turn: Turn, output: Output) -> None:
    """What is shown of a reply is no output of the user's."""
    with turn.session.unrecorded():
        output.follow(turn)


# What shows the turn notices its end at once; an update under way takes milliseconds.
_LAST_UPDATE = 2.0


def in_one_line(error: BaseException, words: str | None = None) -> None:
    """Let IPython show the error without our stack; it keeps its type and can be caught."""
    error._render_traceback_ = lambda: as_one_line(error, words)  # type: ignore[attr-defined]
