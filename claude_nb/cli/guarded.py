"""A program of which nothing stays behind: started behind the guard that also stands behind Claude Code.

Whatever way this process ends, the guard sees it and ends the program with all its descendants; JupyterLab,
its kernels and their sessions are such descendants (see `guard.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from claude_nb import guard
from claude_nb.launch import GuardState
from claude_nb.processes import end_left_over

# JupyterLab ends its kernels one after the other when it is told to leave; each may take a moment.
LEAVE = 10.0
# Between SIGTERM to all that is left and SIGKILL.
GRACE = 2.0
# The guard's own ladder: its patience, GRACE and the time that killing may take.
LADDER = 1.0 + GRACE + guard.KILL_LIMIT


class Guarded:
    """The running program. Also a context manager; `stop` ends it with everything below it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        files: Path,
        output: IO[str] | None = None,
    ) -> None:
        self.marker = uuid.uuid4().hex
        self._state = files / "guard.json"
        self._ledger = files / "ledger.json"
        # The guard takes a closed stdin for an order to leave: a pipe, which our end closes.
        self.process = subprocess.Popen(
            [*self._guard(), "--", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=cwd,
        )

    def _guard(self) -> list[str]:
        here = os.getpid()
        options: dict[str, object] = {
            "--kernel": here,
            "--kernel-start": guard.started(here) or 0,
            "--marker": self.marker,
            "--state": self._state,
            "--ledger": self._ledger,
            "--grace": GRACE,
        }
        flat = [str(word) for option in options.items() for word in option]
        return [sys.executable, "-I", "-S", guard.__file__, *flat]

    def __repr__(self) -> str:
        return f"<Guarded pid {self.process.pid}, status {self.process.returncode}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ended(self) -> bool:
        """The program has exited, and everything below it."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """Ask the program to leave, then the guard to end it, then end what is left."""
        if not self.ended:
            self._ask_to_leave()
        if not self._gone_within(LEAVE):
            self.process.terminate()
        if not self._gone_within(LADDER):
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        state = GuardState.read(self._state)
        if state is None or state.phase != "ended" or state.left:
            end_left_over(self.marker, self._ledger)

    def _ask_to_leave(self) -> None:
        state = GuardState.read(self._state)
        if state is None:  # not even started
            self.process.terminate()
        else:
            guard.send(state.cli, signal.SIGTERM)

    def _gone_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
