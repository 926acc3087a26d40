"""Hear a click while a cell runs: hand comm messages on the moment they arrive in the kernel.

The front end's messages come through the shell socket. Whoever reads that socket puts each of them into a
queue for the main thread, which is busy for as long as a cell runs; so a click waits for the end of the cell.
We look over the reader's shoulder: the callback of `kernel.shell_stream` is wrapped by one that calls the
original first and then, if the message is for a registered comm, its handler.

ipykernel 7   A thread of its own reads the socket, so every message is seen within milliseconds, also during
              a long cell of the user's.
ipykernel 6   The main thread's loop reads the socket. Whoever waits in the main thread calls `serve_shell`,
              which lets the stream take what has arrived as the loop would have done.

Nothing is consumed: the normal route delivers each message again, at its time and in its order. So a message
carries an id by which its handler knows that it has seen it. A handler runs in whatever thread reads the
socket, and only enqueues.

A page that is loaded again asks first which widgets there are, and gives up after some seconds. While there
are registered comms this is answered early, too, so that what they show comes back while a cell runs.

Some names used here are private to ipykernel and pyzmq; where they are missing, `available` is False.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any], list[Any]], None]

# The thread that reads the socket only passes messages on; it answers at once unless the machine is stuck.
_READER_PATIENCE = 5.0


class EarlyComms:
    """Hands `comm_msg` messages of registered comms to their handlers before the normal route does."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._handlers: dict[str, Handler] = {}
        # The comms by which pages ask for all widgets, with the messages that opened them.
        self._asking: dict[str, dict[str, Any]] = {}
        self._changing = threading.Lock()
        self._original: Callable[[list[Any]], Any] | None = None

    def __repr__(self) -> str:
        state = "not available" if not self.available else f"{len(self._handlers)} comms"
        return f"<EarlyComms: {state}>"

    @property
    def available(self) -> bool:
        """Messages are handed on early; on ipykernel 6 while somebody serves the shell."""
        return self._original is not None

    @property
    def needs_serving(self) -> bool:
        """The main thread reads the socket itself, so a wait there has to call `serve_shell`."""
        return self.available and self._reader() is threading.main_thread()

    def install(self) -> bool:
        """In force from now on, where this kernel allows it; whether it does. Best called in a cell."""
        if self.available:
            return True
        try:
            self._in_reader(self._wrap)
        except Exception as error:
            log.debug("No early comm messages in this kernel: %r", error)
        return self.available

    def remove(self) -> None:
        """As it was found; if somebody else has wrapped the callback after us, only our part is left out."""
        with self._changing:
            self._handlers = {}
        if not self.available:
            return
        try:
            self._in_reader(self._unwrap)
        except Exception as error:
            log.debug("The shell's callback could not be put back: %r", error)

    def register(self, comm_id: str, handler: Handler) -> None:
        """From now on `handler(data, buffers)` is called for each message of this comm as it arrives."""
        with self._changing:
            self._handlers = {**self._handlers, comm_id: handler}

    def unregister(self, comm_id: str) -> None:
        """No more; a call that has begun in another thread may still go on."""
        with self._changing:
            self._handlers = {key: handler for key, handler in self._handlers.items() if key != comm_id}
            if not self._handlers:
                self._asking = {}

    def serve_shell(self, seconds: float) -> None:
        """Wait until a message arrives, but no longer than this, and take what has arrived.

        For whoever waits in the main thread on ipykernel 6. Where another thread reads the socket, there is
        nothing to do here and this returns at once: see `needs_serving`. KeyboardInterrupt passes.
        """
        if not self.needs_serving or threading.current_thread() is not threading.main_thread():
            return
        stream = self._kernel.shell_stream
        try:
            stream.socket.poll(max(0, round(seconds * 1000)))
        finally:
            # Polling takes away the mark by which the loop notices messages, so take all that there are.
            with _interrupts_wait():
                stream.flush(_POLLIN)

    def _reader(self) -> threading.Thread:
        """The thread that reads the shell socket."""
        return getattr(self._kernel, "shell_channel_thread", None) or threading.main_thread()

    def _in_reader(self, change: Callable[[], None]) -> None:
        """Run it in the thread that reads the socket: sockets must not be used from two threads."""
        reader = self._reader()
        if reader is threading.current_thread():
            change()
            return
        if not reader.is_alive():
            raise RuntimeError(f"{reader.name} has ended")
        done: Future[None] = Future()
        self._kernel.shell_stream.io_loop.add_callback(_settle, done, change)
        try:
            done.result(_READER_PATIENCE)
        finally:
            done.cancel()

    def _wrap(self) -> None:
        stream = self._kernel.shell_stream
        original = stream._recv_callback
        if not callable(original) or stream._recv_copy is not False or not callable(stream.flush):
            raise TypeError(f"{original!r} does not get frames")
        for name in ("feed_identities", "deserialize", "unpack"):
            if not callable(getattr(self._kernel.session, name)):
                raise TypeError(f"the session cannot {name}")
        stream.on_recv(self._look, copy=False)
        self._original = original

    def _unwrap(self) -> None:
        stream = self._kernel.shell_stream
        if stream._recv_callback == self._look:
            stream.on_recv(self._original, copy=False)
            self._original = None

    def _look(self, frames: list[Any]) -> Any:
        """Called by the stream for each shell message, with its frames."""
        assert self._original is not None
        # First of all, so that nothing that happens here can lose the message.
        route = self._original(frames)
        if self._handlers:
            try:
                self._hand_on(frames)
            except Exception:
                log.exception("A comm message could not be handed on early")
        return route

    def _hand_on(self, frames: list[Any]) -> None:
        """Call the handler of a genuine message, if there is one; answer a page that asks for all widgets."""
        session = self._kernel.session
        _, parts = session.feed_identities(frames, copy=False)
        if len(parts) < 5 or not any(kind in parts[1].bytes for kind in (b"comm_msg", b"comm_open")):
            return
        handlers = self._handlers
        packed = parts[4].bytes
        if not any(name.encode() in packed for name in (*handlers, *self._asking, _ALL_WIDGETS)):
            return
        try:
            # Without the content this only peeks: the signature is checked, but not remembered as used.
            message = session.deserialize(parts, content=False, copy=False)
        except Exception as error:
            log.debug("Not handed on early: %r", error)
            return
        content = session.unpack(packed)
        comm_id = content.get("comm_id")
        if message["msg_type"] == "comm_open":
            if content.get("target_name") == _ALL_WIDGETS:
                self._asking[comm_id] = {**message, "content": content}
        elif comm_id in handlers:
            handlers[comm_id](content.get("data", {}), message["buffers"])
        elif comm_id in self._asking:
            messages = self._asking.pop(comm_id), {**message, "content": content}
            # All widgets' states may take a while to collect, and the socket must be read.
            threading.Thread(target=self._answer_page, args=messages, daemon=True).start()

    def _answer_page(self, opening: dict[str, Any], request: dict[str, Any]) -> None:
        """As the normal route will do once more; the page takes the first answer."""
        try:
            comms = self._kernel.comm_manager
            comms.comm_open(None, None, opening)
            comms.comm_msg(None, None, request)
        except Exception:
            log.exception("A page that was loaded again got no early answer")


# The target of ipywidgets by which a page asks for the states of all widgets.
_ALL_WIDGETS = "jupyter.widget.control"
# zmq.POLLIN, without an import that only a kernel has done already.
_POLLIN = 1


def _settle(done: Future[None], change: Callable[[], None]) -> None:
    """Do it unless nobody waits for it any more."""
    if not done.set_running_or_notify_cancel():
        return
    try:
        change()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Interrupt is heard after the block: in it, a message that was just read would be lost."""
    if signal.getsignal(signal.SIGINT) is None:  # not Python's, so it does not raise either
        yield
        return
    heard: list[tuple[Any, ...]] = []
    before = signal.signal(signal.SIGINT, lambda *args: heard.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard and callable(before):
            before(*heard[0])
