"""Where /proc is not mounted, or shows little, as in some containers: what is promised is said."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from processes_kit import sleeper

from claude_nb import guard
from claude_nb.cli.doctor import look_at_proc
from claude_nb.errors import UnsupportedPlatform
from claude_nb.launch import check_proc
from claude_nb.processes import HIDDEN, NO_BOOT_ID, NO_PROC, boot_id, not_promised, read_ledger

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")

BOOT_ID = "sys/kernel/random/boot_id"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """One with the files of the real one that we need."""
    proc = tmp_path / "proc"
    for name in ("self/stat", "1/stat", BOOT_ID):
        (proc / name).parent.mkdir(parents=True)
        (proc / name).write_bytes(Path("/proc/self/stat" if "stat" in name else f"/proc/{name}").read_bytes())
    return proc


def test_a_complete_one_is_nothing_to_speak_of(proc: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_proc(str(proc))
    assert not caplog.records
    assert look_at_proc(str(proc)).level == "ok"
    assert boot_id(str(proc)) == boot_id() != ""
    assert list(guard.process_table(str(proc))) == [1]


@pytest.mark.parametrize(("lacks", "reason"), [(BOOT_ID, NO_BOOT_ID), ("1/stat", HIDDEN)])
def test_what_an_incomplete_one_costs_is_said_once(
    lacks: str, reason: str, proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (proc / lacks).unlink()
    with caplog.at_level(logging.WARNING):
        check_proc(str(proc))
        check_proc(str(proc))
    assert [record.message for record in caplog.records] == [reason]
    finding = look_at_proc(str(proc))
    assert (finding.level, finding.advice) == ("note", reason)


def test_without_any_nothing_is_started_and_the_cure_is_named(tmp_path: Path) -> None:
    nowhere = str(tmp_path)
    for _ in range(2):
        with pytest.raises(UnsupportedPlatform, match="mount -t proc"):
            check_proc(nowhere)
    assert not_promised(nowhere) == [NO_PROC]
    assert look_at_proc(nowhere).level == "problem"
    assert (boot_id(nowhere), guard.look_at(1, nowhere)) == ("", None)
    assert guard.process_table(str(tmp_path / "missing")) == {}


def test_a_ledger_of_no_known_boot_names_nobody(tmp_path: Path) -> None:
    """Pids start again after a boot, so that they could be anybody's."""
    ledger = tmp_path / "ledger.json"
    with sleeper() as them:
        entries = {"boot": boot_id(), "marker": "m", "processes": [them]}
        ledger.write_text(json.dumps(entries))
        assert read_ledger(ledger, "m") == {them}
        ledger.write_text(json.dumps({**entries, "boot": ""}))
        assert read_ledger(ledger, "m", proc=str(tmp_path)) == set()
