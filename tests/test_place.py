"""Output lands in the cell it belongs to: from threads, after the cell's end, while others run. Kernel.

Everything holds for the newest ipykernel and for the oldest that we support.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import PATIENCE, Kernel
from shared_kernels import SharedKernels, lent_to

from claude_nb.kernel.place import Place

in_kernel = pytest.mark.kernel

SETUP = """
import queue, threading, time
from IPython.display import display
from claude_nb.kernel.place import Place

shell = get_ipython()
jobs = queue.Queue()

def at_home(function):
    "In a thread, in the place that was remembered."
    done = threading.Event()
    jobs.put((function, done))
    return done

def work():
    while True:
        function, done = jobs.get()
        home.run(function)
        done.set()

threading.Thread(target=work, daemon=True).start()

def between_cells(function):
    shell.kernel.io_loop.call_later(0.1, lambda: home.run(function))

def speak(who):
    print(f"{who} prints")
    display(f"{who} displays")
"""

HOME = "home = Place.here(shell); handle = display('first', display_id='card')"


class Reader:
    """Somebody who sees which cell shows what."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.messages: list[dict[str, Any]] = []

    def run(self, code: str) -> str:
        """Run a cell to its end; the id by which its outputs go."""
        message_id = self.kernel.start_cell(code)
        self.read_until(lambda message: self.is_end_of(message, message_id))
        reply = self.kernel._reply(message_id, time.monotonic() + PATIENCE)
        assert reply["status"] == "ok", reply
        return message_id

    @staticmethod
    def is_end_of(message: dict[str, Any], message_id: str) -> bool:
        return message["content"].get("execution_state") == "idle" and (
            message["parent_header"]["msg_id"] == message_id
        )

    def read_until(self, last: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self.kernel.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            self.messages.append(message)
            if last(message):
                return

    def read_until_shown(self, text: str) -> None:
        """What is printed comes a moment after the cell."""
        self.read_until(lambda message: text in str(message["content"].get("text", "")))

    def printed(self, cell: str) -> str:
        return "".join(content["text"] for content in self._of(cell, "stream"))

    def shown(self, cell: str, *kinds: str) -> list[str]:
        kinds = kinds or ("display_data", "update_display_data", "execute_result")
        return [content["data"]["text/plain"].strip("'") for content in self._of(cell, *kinds)]

    def errors(self, cell: str) -> list[str]:
        return [content["ename"] for content in self._of(cell, "error")]

    def _of(self, cell: str, *kinds: str) -> list[dict[str, Any]]:
        return [
            message["content"]
            for message in self.messages
            if message["parent_header"].get("msg_id") == cell and message["msg_type"] in kinds
        ]


@pytest.fixture(params=["newest", "oldest"])
def reader(request: pytest.FixtureRequest, kernels: SharedKernels, folder: Path) -> Iterator[Reader]:
    with lent_to(request, folder, request.param, load=False) as kernel:
        reader = Reader(kernel)
        reader.run(SETUP)
        yield reader


@in_kernel
def test_a_thread_shows_in_its_cell_while_another_cell_runs(reader: Reader) -> None:
    home = reader.run(HOME)
    other = reader.run("""
speak("before")
at_home(lambda: (speak("thread"), handle.update("second"))).wait()
speak("after")
""")
    reader.run("time.sleep(0.5)")
    assert reader.printed(home) == "thread prints\n"
    assert reader.shown(home) == ["first", "thread displays", "second"]
    assert reader.printed(other) == "before prints\nafter prints\n"
    assert reader.shown(other) == ["before displays", "after displays"]


@in_kernel
def test_cell_and_thread_show_much_at_the_same_time_and_nothing_is_mixed_up(reader: Reader) -> None:
    home = reader.run(HOME)
    other = reader.run("""
def much(who):
    for number in range(200):
        print(f"{who} {number}")
        display(f"{who} {number}")

done = at_home(lambda: much("thread"))
much("cell")
done.wait();
""")
    for cell, who in ((home, "thread"), (other, "cell")):
        expected = [f"{who} {number}" for number in range(200)]
        assert [text for text in reader.shown(cell) if text != "first"] == expected
        assert reader.printed(cell).split("\n")[:-1] == expected


@in_kernel
def test_code_that_runs_between_cells_shows_everything_in_its_cell(reader: Reader) -> None:
    home = reader.run(HOME)
    other = reader.run("""
def figure():
    shell.events.unregister("post_execute", figure)
    display("figure")

def tool():
    shell.events.register("post_execute", figure)
    shell.run_cell("speak('tool'); 6 * 7")
    shell.run_cell("1 / 0")
    print("done")

between_cells(tool)
print("other")
""")
    reader.read_until_shown("done")
    last = reader.run("speak('later'); 'later'")
    assert reader.printed(home) == "tool prints\ndone\n"
    assert reader.shown(home) == ["first", "tool displays", "42", "figure"]
    assert reader.errors(home) == ["ZeroDivisionError"]
    assert reader.printed(other) == "other\n"
    assert reader.shown(other) == []
    assert reader.printed(last) == "later prints\n"
    assert reader.shown(last) == ["later displays", "later"]


@in_kernel
def test_code_that_runs_inside_of_another_cell_does_not_disturb_it(reader: Reader) -> None:
    home = reader.run(HOME)
    other = reader.run("""
speak("before")
home.run(shell.run_cell, "speak('tool'); 6 * 7")
try:
    home.run(lambda: 1 / 0)
except ZeroDivisionError:
    speak("after")
'value'
""")
    assert reader.printed(home) == "tool prints\n"
    assert reader.shown(home) == ["first", "tool displays", "42"]
    assert reader.printed(other) == "before prints\nafter prints\n"
    assert reader.shown(other) == ["before displays", "after displays", "value"]


@in_kernel
def test_a_place_remembered_in_a_place_is_the_same(reader: Reader) -> None:
    home = reader.run(HOME)
    reader.run("at_home(lambda: globals().update(again=Place.here(shell))).wait()")
    reader.run("again.run(speak, 'again')")
    assert reader.printed(home) == "again prints\n"
    assert reader.shown(home) == ["first", "again displays"]


@in_kernel
def test_a_card_is_shown_in_its_cell_also_while_another_one_captures(reader: Reader) -> None:
    home = reader.run(HOME)
    other = reader.run("""%%capture captured
update = lambda: home.publish({"text/plain": "second"}, display_id="card", update=True)
at_home(update).wait()
display("mine")
""")
    reader.run("assert len(captured.outputs) == 1")
    assert reader.shown(home) == ["first", "second"]
    assert reader.shown(other) == []


@in_kernel
def test_what_is_shown_in_a_captured_cell_stays_captured(reader: Reader) -> None:
    captured = reader.run("%%capture captured\nhome = Place.here(shell)")
    other = reader.run("at_home(lambda: home.publish({'text/plain': 'captured'})).wait();")
    reader.run("at_home(lambda: display('late')).wait();")
    assert reader.shown(other) == []
    assert reader.shown(captured) == ["late"]


@pytest.mark.pure
def test_without_a_kernel_a_function_is_simply_called() -> None:
    place = Place.here(None)
    assert place.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        place.run(divmod, 7, 0)
