"""A whole kernel and the real CLI: a sample of `make soak`, without the idling."""

from __future__ import annotations

import os

import pytest

from benchmarks import soak
from benchmarks.sandbox import sandbox

pytestmark = pytest.mark.kernel

CYCLES = int(os.environ.get("CLAUDE_NB_CYCLES", "5"))


def test_a_kernel_holds_after_many_suspensions_what_it_held_before_and_has_no_zombie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sandbox() as folder:
        monkeypatch.chdir(folder)
        found = {figure.what: figure for figure in soak.measure(CYCLES, 0, folder)}
    assert {what for what, figure in found.items() if "missed" in figure.verdict} == set()
    for what in ("file descriptors", "threads", "zombies", "messages lost"):
        assert found[what].verdict == "met"
    assert found["file descriptors"].value > 0


def test_a_leak_is_seen() -> None:
    """The negative control."""
    before, after = soak.Held(60, 18, 100.0, 0, 0), soak.Held(61, 19, 111.0, 1, 1)
    missed = [figure.what for figure in soak.kept(before, after, 1) if "missed" in figure.verdict]
    assert missed == [
        "file descriptors",
        "threads",
        "processes below the kernel",
        "zombies",
        "of this, grown",
    ]
