"""Recording cells, in real kernels and in a terminal's shell: what the reader saw, and nothing disturbed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import PATIENCE, Kernel, oldest_ipykernel, running_kernel
from processes_kit import wait_until

from claude_nb.kernel.cells import Cell, as_text, is_prompt
from claude_nb.kernel.tracebacks import CellError

pytestmark = pytest.mark.kernel

SET_UP = """
import asyncio, base64, contextlib, io, sys, threading
from IPython.display import Markdown, clear_output, display
from claude_nb.kernel.cells import CellRecorder, as_text
shell = get_ipython()
def hooks():
    ways = [(sys.stdout, "write"), (sys.stderr, "write"), (shell.displayhook, "write_format_data")]
    ways += [(shell.display_pub, name) for name in ("publish", "clear_output")]
    ways += [(shell.display_formatter, "format")]
    return [vars(owner).get(name) for owner, name in ways]
recorder = CellRecorder()
"""


@pytest.fixture(scope="module", params=["newest", "oldest"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    overlay = oldest_ipykernel() if request.param == "oldest" else None
    with running_kernel(tmp_path_factory.mktemp("cells"), load=False, overlay=overlay) as started:
        assert started.run(SET_UP).error is None
        assert started.run("recorder.install(shell)").error is None
        yield started


def last(kernel: Kernel, source: str, back: int = 1) -> Cell:
    """Run the cell; what was recorded of it, or of one that ended before it."""
    kernel.run(source)
    return noted(kernel, back)


def noted(kernel: Kernel, back: int) -> Cell:
    """What was recorded; each look is a cell, too, but for one that is aborted as a cell has just failed."""
    while (look := kernel.run(f"recorder.cells()[-{back}]")).reply["status"] == "aborted":
        time.sleep(0.05)
    assert look.error is None, look.shown_error
    return eval(look.value, {"Cell": Cell, "CellError": CellError})


def test_source_printed_text_result_and_time_are_recorded(kernel: Kernel) -> None:
    cell = last(kernel, "print('one'); print('two', file=sys.stderr)\n40 + 2")
    assert cell.source == "print('one'); print('two', file=sys.stderr)\n40 + 2"
    assert cell.printed == "one\ntwo\n"
    assert cell.result == "42\n"
    assert cell.error is None
    assert not cell.running
    assert not cell.ours
    assert 0 < cell.seconds < 30
    assert cell.execution_count is not None
    following = last(kernel, "'quiet';")
    assert following.result == ""
    assert following.number == cell.number + 2  # the look at it was a cell as well
    assert following.execution_count == cell.execution_count + 2


def test_an_error_is_recorded_as_a_short_plain_traceback(kernel: Kernel) -> None:
    cell = last(kernel, "def f(n):\n    return f(n - 1) if n else 1 / 0\nf(50)")
    assert cell.error is not None
    assert (cell.error.ename, cell.error.evalue) == ("ZeroDivisionError", "division by zero")
    lines = cell.error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f"  Cell In[{cell.execution_count}], line 3, in <module>"
    assert lines[2] == "    f(50)"
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "frames left out" in cell.error.traceback
    assert len(lines) < 40
    assert "\x1b" not in cell.error.traceback
    chained = last(kernel, "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('no') from e")
    assert chained.error is not None
    assert "KeyError: 'a'\n\nand because of that" in chained.error.traceback
    wrong = last(kernel, "for x in")
    assert wrong.error is not None
    assert wrong.error.ename == "SyntaxError"
    assert "  Cell In[" in wrong.error.traceback
    assert kernel.eval("recorder.last_error().error.ename") == "'SyntaxError'"
    assert kernel.eval("(1, recorder.last_error().source)[1]") == "'for x in'"


def test_an_interrupt_and_an_error_whose_text_raises_are_recorded(kernel: Kernel) -> None:
    cell = last(kernel, "raise KeyboardInterrupt")
    assert cell.error is not None
    assert cell.error.ename == "KeyboardInterrupt"
    evil = last(kernel, "class Evil(Exception):\n    def __str__(self): raise RuntimeError\nraise Evil")
    assert evil.error is not None
    assert last(kernel, "print('on')").printed == "on\n"


def test_a_cell_that_runs_another_keeps_its_own_output(kernel: Kernel) -> None:
    shown = kernel.run("print('before'); shell.run_cell('print(\"inside\"); 7'); print('after'); 8")
    assert shown.printed.replace("inside", "") == "before\n\nafter\n"
    inner, outer = noted(kernel, 2), noted(kernel, 2)
    assert (inner.printed, inner.result, inner.nested) == ("inside\n", "7\n", True)
    assert (outer.printed, outer.result, outer.nested) == ("before\nafter\n", "8\n", False)


def test_threads_awaits_and_subprocesses_belong_to_the_cell(kernel: Kernel) -> None:
    threads = "ts = [threading.Thread(target=print, args=('t',)) for _ in range(8)]\n"
    cell = last(kernel, threads + "[t.start() for t in ts]; [t.join() for t in ts]\nprint('end')")
    assert sorted(cell.printed.split()) == ["end", *"t" * 8]
    assert last(kernel, "print('a'); await asyncio.sleep(0.01); print('b'); 9").printed == "a\nb\n"
    assert last(kernel, "await asyncio.sleep(0); 1 / 0").error is not None
    assert last(kernel, "!echo from a child").printed.strip() == "from a child"


def test_what_is_written_past_python_at_a_cells_end_belongs_to_it(kernel: Kernel) -> None:
    for ending in range(5):
        # More than the thread that reads it takes at a time, so that it is late.
        cell = last(
            kernel, f"import os; os.write(1, b'x' * 5_000 + b' one\\n'); os.write(2, b'end {ending}\\n');"
        )
        assert " one\n" in cell.printed
        assert f"end {ending}\n" in cell.printed


def test_widgets_are_recorded_with_their_last_state(kernel: Kernel) -> None:
    bar = "import ipywidgets; bar = ipywidgets.IntProgress(max=5); display(bar)\n"
    (shown,) = last(kernel, bar + "for i in range(6): bar.value = i").displays
    assert "value=5" in shown
    (shown,) = last(kernel, bar + "bar.close()").displays
    assert shown.endswith("(closed)")


def test_cleared_outputs_are_gone_when_the_reader_no_longer_sees_them(kernel: Kernel) -> None:
    assert last(kernel, "print('old'); clear_output(wait=True); print('new')").printed == "new\n"
    assert last(kernel, "print('old'); clear_output(wait=True)").printed == "old\n"
    cell = last(
        kernel,
        "import ipywidgets; out = ipywidgets.Output(); print('before'); display(out)\n"
        "for i in range(3):\n    with out: clear_output(wait=True); display(f'state {i}')",
    )
    assert cell.printed == "before\n"
    assert cell.displays[1:] == ("'state 2'",)


def test_of_many_displays_the_first_and_the_last_are_recorded(kernel: Kernel) -> None:
    shown = last(kernel, "for i in range(100): display(i)").displays
    assert (shown[0], shown[10], shown[-1], len(shown)) == ("0", "… 80 displays left out …", "99", 21)


def test_what_the_reader_does_not_see_is_not_recorded(kernel: Kernel) -> None:
    assert last(kernel, "with contextlib.redirect_stdout(io.StringIO()) as out: print('no')").printed == ""
    assert kernel.eval("out.getvalue()") == "'no\\n'"
    cell = last(kernel, "%%capture kept\nprint('no'); display('no'); 5")
    assert (cell.printed, cell.displays, cell.result) == ("", (), "")
    assert kernel.eval("kept.stdout, len(kept.outputs)") == "('no\\n', 2)"
    assert last(kernel, "kept.show()").printed == "no\n"
    assert last(kernel, "print('no'); clear_output(); print('yes')").printed == "yes\n"
    assert last(kernel, "print('1 %', end='\\r'); print('\\x1b[31m99 %\\x1b[0m')").printed == "99 %\n"


def test_displays_with_their_last_update_and_images_are_recorded(kernel: Kernel) -> None:
    update = (
        "handle = display(Markdown('*old*'), display_id=True); handle.update(Markdown('*new*')); display('x')"
    )
    assert last(kernel, update).displays == ("*new*", "'x'")
    png = "base64.b64encode(b'\\x89PNG and more').decode()"
    cell = last(kernel, f"display({{'image/png': {png}, 'text/plain': '<Figure>'}}, raw=True)")
    assert cell.displays == ("<Figure>",)
    assert cell.images == (b"\x89PNG and more",)
    for _ in range(3):
        kernel.run(f"for _ in range(9): display({{'image/png': {png}}}, raw=True)")
    assert kernel.eval("sum(len(cell.images) for cell in recorder.cells())") == "20"


def test_long_output_is_kept_at_both_ends(kernel: Kernel) -> None:
    cell = last(kernel, "for n in range(20_000): print('line', n)")
    assert len(cell.printed) < 21_000
    assert cell.printed.startswith("line 0\n")
    assert cell.printed.endswith("line 19999\n")
    assert "characters left out" in cell.printed


def test_streams_and_the_shell_are_as_before_between_cells_and_after_removal(kernel: Kernel) -> None:
    for source in ("1 / 0", "print(1)", "display(1)", "shell.run_cell('1')", "await asyncio.sleep(0)"):
        kernel.run(source)
        # Looked at between cells, in a callback of the loop.
        kernel.run("asyncio.get_event_loop().call_later(0.05, lambda: globals().update(between=hooks()))")
        wait_until(lambda: kernel.eval("'between' in globals()") == "True", PATIENCE)
        found = kernel.eval("[getattr(hook, '__module__', None) for hook in globals().pop('between')]")
        assert "claude_nb" not in found
    kernel.run("recorder.remove()")
    assert "claude_nb" not in kernel.eval("[getattr(hook, '__module__', None) for hook in hooks()]")
    before = kernel.eval("recorder.last_number")
    kernel.run("print('not recorded')")
    assert kernel.eval("recorder.last_number") == before
    kernel.run("recorder.install(shell)")
    assert last(kernel, "print('recorded')").printed == "recorded\n"


def test_running_cells_and_those_since_a_number_are_told(kernel: Kernel) -> None:
    cell = last(kernel, "print('so far'); found = recorder.running()")
    assert kernel.eval("[(c.printed, c.running, c.number) for c in found]") == "[('so far\\n', True, 0)]"
    kernel.run("print('next')")
    assert kernel.eval(f"[c.printed for c in recorder.since({cell.number}) if c.printed]") == "['next\\n']"


def test_what_is_claudes_can_be_marked_or_left_out(kernel: Kernel) -> None:
    assert last(kernel, "with recorder.as_ours(): shell.run_cell('6 * 7')", back=2).ours
    muted = (
        "print('a')\nwith recorder.unrecorded():\n    print('no'); shell.run_cell('print(1)'); display(0)\n"
    )
    cell = last(kernel, muted + "print('b')")
    assert (cell.printed, cell.displays) == ("a\nb\n", ())
    assert last(kernel, muted, back=2).printed == "1\n"


def test_cells_that_overlap_in_two_threads_are_told_apart_and_leave_nothing_behind(kernel: Kernel) -> None:
    cell = last(
        kernel,
        """
from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult
publish = vars(shell.display_pub)["publish"]
def overlap(own, other, name):
    info = ExecutionInfo(name, False, False, True, None)
    shell.events.trigger("pre_run_cell", info)
    own.set(); other.wait(10)
    print(name)
    shell.events.trigger("post_run_cell", ExecutionResult(info))
one, two = threading.Event(), threading.Event()
ts = [threading.Thread(target=overlap, args=a) for a in ((one, two, "one"), (two, one, "two"))]
[t.start() for t in ts]; [t.join() for t in ts]
same = vars(shell.display_pub)["publish"] is publish
""",
    )
    assert cell.printed == ""
    assert sorted(kernel.eval("[c.printed for c in recorder.cells()[-4:-2]]").split("'")[1::2]) == [
        r"one\n",
        r"two\n",
    ]
    assert kernel.eval("same") == "True"


def test_a_mistake_of_the_recorder_does_not_reach_the_cell(kernel: Kernel) -> None:
    kernel.run("""
class Odd(io.StringIO):
    __slots__ = ()
class Bundle(dict):
    def get(self, *_): raise RuntimeError
odd = Odd()
""")
    shown = kernel.run("shell.display_pub.publish(Bundle({'text/plain': 'shown'})); print('on')")
    assert shown.error is None
    assert shown.printed == "on\n"
    assert kernel.run("with contextlib.redirect_stdout(odd): shell.run_cell('print(1)')").error is None
    assert kernel.eval("odd.getvalue()") == "'1\\n'"


def test_recording_costs_some_hundred_calls_a_cell_and_a_few_a_write(kernel: Kernel) -> None:
    kernel.run(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from work_kit import calls")
    measure = "calls(lambda: shell.run_cell('pass')), calls(lambda: sys.stdout.write(''))"
    kernel.run(f"{measure}; with_recorder = {measure}; recorder.remove()")
    kernel.run(f"without = {measure}; recorder.install(shell)")
    per_cell, per_write = eval(kernel.eval("[a - b for a, b in zip(with_recorder, without)]"))
    print(per_cell, per_write)
    assert 0 < per_cell < 1_000
    assert 0 < per_write < 50


TERMINAL = """
import sys
from IPython.terminal.interactiveshell import TerminalInteractiveShell
from claude_nb.kernel.cells import CellRecorder
shell = TerminalInteractiveShell.instance(colors="NoColor")
recorder = CellRecorder()
recorder.install(shell)
awaits = "import asyncio; await asyncio.sleep(0)"
for source in ("print('a')\\n1 + 1", "1 / 0", "display('shown'); print('b')", "for", awaits):
    shell.run_cell(source, store_history=True)
first, failed, shown, wrong, awaited = recorder.cells()
assert (first.printed, first.result) == ("a\\n", "2\\n"), first
assert (failed.printed, failed.error.ename) == ("", "ZeroDivisionError"), failed
assert (shown.printed, shown.displays) == ("b\\n", ("'shown'",)), shown
assert (wrong.printed, wrong.error.ename) == ("", "SyntaxError"), wrong
assert awaited.error is None, awaited
recorder.remove()
assert "showtraceback" not in vars(shell)
print("as it should be")
"""


def test_a_terminal_is_recorded_alike(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TERMINAL], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.endswith("as it should be\n"), ended.stderr
    assert "Out[1]: 2" in ended.stdout
    assert "ZeroDivisionError" in ended.stdout


@pytest.mark.pure
@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("%claude hi", True),
        ("%%claude\nhi\nthere", True),
        ("\n  %claude hi\nprint(1)", True),
        ("# a comment\n%claude hi", True),
        ("x = %claude hi", True),
        ("%time %claude hi", True),
        ("%%time\n%claude hi", True),
        ("%claudette hi", False),
        ("print('%claude hi')", False),
        ("df.head()\n%claude what is this", False),
        ("x = 1\ny = %claude hi", False),
    ],
)
def test_a_prompt_is_told_from_other_cells(source: str, prompt: bool) -> None:
    assert is_prompt(source) is prompt


@pytest.mark.pure
def test_a_cell_as_text_is_masked_and_bounded_and_names_what_is_missing() -> None:
    what: dict[str, Any] = {"printed": "password: hunter2\n" * 500, "result": "x" * 5_000}
    cell = Cell(number=1, execution_count=3, source="f()", **what)
    for limit in (100, 500, 3_000):
        text = as_text(cell, limit)
        assert text.startswith("In [3], 0.0 s:\n  f()")
        assert len(text) <= limit + 60
        assert "hunter2" not in text
        assert "left out" in text or "not shown" in text or "…" in text
    assert "f()" not in as_text(cell, 500, source=False)
