"""Whole kernels and the real CLI: each benchmark measures what it says, in one run. Never how fast."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from benchmarks import figures, raw, results, streaming
from benchmarks.__main__ import NAMES, described, measured
from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

ROOT = Path(__file__).resolve().parents[1]


# What `%load_ext` must not import: it comes with the first prompt, or when the kernel is idle.
WITH_THE_FIRST_PROMPT = (
    "anywidget",
    "claude_agent_sdk",
    "claude_nb.process",
    "claude_nb.render.page",
    "claude_nb.session",
    "ipywidgets",
    "markdown_it",
    "mcp",
    "psutil",
)


# One run of these takes most of a minute: `make bench` has them, and other tests do the same once.
LONG = {"streaming", "endings", "large_line", "suspended", "chat_clicks", "chat_streaming", "chat_open"}


@pytest.mark.kernel
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG])
def test_each_benchmark_yields_figures(name: str) -> None:
    found = measured(importlib.import_module(f"benchmarks.{name}"), runs=1)
    assert found
    for figure in found:
        assert figure.what
        assert math.isfinite(figure.value)
        assert figure.baseline is None or math.isfinite(figure.baseline)


@pytest.mark.kernel
def test_ten_sessions_at_once_lose_nothing() -> None:
    found = measured(streaming, runs=1)
    assert [figure.what for figure in found if "missed" in figure.verdict] == []
    assert found[0].value > streaming.SESSIONS


@pytest.mark.cli
def test_the_raw_cli_has_the_flags_and_variables_of_a_session(api: OfflineAPI, tmp_path: Path) -> None:
    manager = SessionManager()
    try:
        session = manager.session("compared")
        session.ask("hello").result(60)
        with raw.RawCLI(tmp_path) as cli:
            cli.ask("hello")
            bare = psutil.Process(cli.process.pid)
            ours = psutil.Process(session.pid)
            assert options(bare) == {option for option in options(ours) if option[0] != "settings"}
            assert set(ours.environ()) - set(bare.environ()) <= {
                "CLAUDE_NB_SESSION",
                "CLAUDE_AGENT_SDK_VERSION",
            }
    finally:
        manager.shutdown("the test is over")


def options(process: psutil.Process) -> set[tuple[str, ...]]:
    """The options of a command line, each with its value; without the session's id."""
    words = " ".join(process.cmdline()[1:]).replace("=", " ").split("--")
    return {tuple(option.split()) for option in words if option and not option.startswith("session-id")}


@pytest.mark.pure
def test_loading_the_extension_imports_nothing_that_only_a_prompt_needs() -> None:
    code = f"""
        import sys
        from IPython.core.interactiveshell import InteractiveShell
        InteractiveShell.instance().run_line_magic("load_ext", "claude_nb")
        print([name for name in {WITH_THE_FIRST_PROMPT!r} if name in sys.modules])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.pure
def test_a_figure_meets_its_goal_or_misses_it() -> None:
    assert figures.times("a", [0.1, 0.2, 0.9], [0.22], 1.15).verdict == "met"
    assert figures.times("a", [0.1, 0.2, 0.9], [0.24], 1.15).verdict == "**missed**"
    assert figures.above("a", [0.010], [0.024], 15).verdict == "met"
    assert [figures.at_least("a", value, 50).verdict for value in (49, 50)] == ["**missed**", "met"]
    assert figures.at_most("a", 1, 0).cells() == ("a", "", "1", "", "none", "**missed**")
    assert figures.Figure("a", 3, "ms", 2).cells() == ("a", "2 ms", "3 ms", "1.50", "", "")


@pytest.mark.pure
def test_the_sides_take_turns() -> None:
    order: list[str] = []
    sides = [lambda: order.append("raw") or 1.0, lambda: order.append("ours") or 2.0]
    assert figures.interleaved(2, *sides) == [[1.0, 1.0], [2.0, 2.0]]
    assert order == ["raw", "ours", "ours", "raw"]


@pytest.mark.pure
def test_the_busiest_second_counts_across_full_seconds() -> None:
    assert streaming.busiest_second([]) == 0
    assert streaming.busiest_second([0.0, 0.9, 1.1, 1.2, 3.0]) == 3


@pytest.mark.pure
def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    results.write_section("First", "old", file)
    file.write_text(file.read_text() + "\n## By hand\n\nkept\n")
    results.write_section("Last", "l", file)
    results.write_section("First", "new", file)
    introduction, first, by_hand, last = file.read_text().split("\n## ")
    assert introduction.startswith("# ")
    assert [first, by_hand, last] == ["First\n\nnew\n", "By hand\n\nkept\n", "Last\n\nl\n"]


@pytest.mark.pure
@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_says_what_it_measures(name: str) -> None:
    title, about = described(importlib.import_module(f"benchmarks.{name}"))
    assert title
    assert "\n" not in title
    assert len(about) > 40
