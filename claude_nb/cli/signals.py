"""Ctrl-C, SIGTERM and SIGHUP as something to wait for, instead of an exception anywhere."""

from __future__ import annotations

import select
import signal
import socket
from types import TracebackType
from typing import Any, Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While it is entered the signals only make `wait` return; cleaning up is never cut short by a second."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before: dict[signal.Signals, Any] = {}
        self.came = False
        for number in ENDING:
            before = signal.getsignal(number)
            if number == signal.SIGHUP and before is signal.SIG_IGN:
                continue  # started with nohup
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def _take(self, number: int, frame: object) -> None:
        self.came = True

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for one of the signals, at most so long; whether one came, now or before."""
        if not self.came:
            select.select([self._reader], [], [], seconds)
        return self.came
