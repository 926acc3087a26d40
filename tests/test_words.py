"""Numbers, times and states as a reader says them. Pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_nb.claims import claim, this_kernel
from claude_nb.doing import note
from claude_nb.overview import SessionInfo, overview
from claude_nb.registry import Record, Registry
from claude_nb.state import State
from claude_nb.words import counted

pytestmark = pytest.mark.pure


def row_of(registry: Registry, record: Record) -> SessionInfo:
    (row,) = overview([record], {}, None, registry.runtime)
    return row


def test_one_thing_is_no_plural_and_thousands_are_set_off() -> None:
    assert [counted(number, "token") for number in (0, 1, 2_400)] == ["0 tokens", "1 token", "2,400 tokens"]


def test_a_copy_that_was_never_used_is_not_called_suspended(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "data", tmp_path / "runtime")
    record = registry.create("copy", tmp_path, turns=3)
    assert row_of(registry, record).state == "copied, not used yet"
    record.last_activity += 0.1
    assert row_of(registry, record).state.startswith("suspended")


@pytest.mark.parametrize(("state", "working"), [(State.IDLE, False), (State.BUSY, True)])
def test_a_session_of_another_kernel_is_at_work_only_while_it_has_a_turn(
    tmp_path: Path, state: State, working: bool
) -> None:
    registry = Registry(tmp_path / "data", tmp_path / "runtime")
    record = registry.create("theirs", tmp_path, turns=1)
    note(record, state)
    held = claim(record.id, registry.runtime, this_kernel(), name="theirs")
    row = row_of(registry, record)
    held.release()
    assert (row.state, row.working) == ("in use by another kernel", working)
