"""Our own folders: whose they must be, and what is said and still works where they cannot be written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from claude_nb.cli.doctor import look_at_folder
from claude_nb.errors import FolderUnusable
from claude_nb.private import private_folder, replace_file
from claude_nb.session_manager import SessionManager

PATIENCE = 60.0


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of another user's."""
    if os.geteuid():
        return Path("/usr")
    folder = tmp_path / "foreign"
    folder.mkdir(mode=0o777)
    os.chown(folder, 65534, 65534)
    return folder


def test_a_folder_is_used_only_if_it_is_this_users_alone(tmp_path: Path, foreign: Path) -> None:
    assert stat.S_IMODE(private_folder(tmp_path / "new").stat().st_mode) == 0o700
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(mine)
    file = tmp_path / "file"
    file.touch()
    before = foreign.stat().st_mode
    for folder, why in ((foreign, "another user"), (link, "link"), (file, "File exists")):
        with pytest.raises(FolderUnusable, match=why) as caught:
            private_folder(folder)
        assert isinstance(caught.value, OSError)
        (line,) = caught.value._render_traceback_()
        assert "\n" not in line
        assert str(folder) in line
    assert foreign.stat().st_mode == before
    assert stat.S_IMODE(mine.stat().st_mode) == 0o755
    assert private_folder(link, may_be_link=True) == link  # where nothing is run
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    with pytest.raises(FolderUnusable, match="another user"):
        private_folder(foreign, may_be_link=True)


def test_the_cure_names_the_variable_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runs"))
    with pytest.raises(FolderUnusable, match=r"No such file or directory.*JUPYTER_RUNTIME_DIR"):
        replace_file(tmp_path / "runs" / "file", b"x")
    with pytest.raises(FolderUnusable, match="JUPYTER_DATA_DIR"):
        replace_file(tmp_path / "kept" / "file", b"x")


def test_the_doctor_tries_to_write(tmp_path: Path, foreign: Path) -> None:
    assert look_at_folder("data folder", tmp_path / "jupyter", "JUPYTER_DATA_DIR").level == "ok"
    assert not (tmp_path / "jupyter").exists()
    file = tmp_path / "file"
    file.touch()
    assert look_at_folder("data folder", file, "JUPYTER_DATA_DIR").level == "problem"
    for name, target in (("foreign", foreign), ("mine", tmp_path)):
        jupyter = tmp_path / f"jupyter-{name}"
        jupyter.mkdir()
        (jupyter / "claude_nb").symlink_to(target)
        assert look_at_folder("runtime folder", jupyter, "JUPYTER_RUNTIME_DIR").level == "problem"


def test_a_working_folder_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FolderUnusable, match="working folder of this kernel has been removed"):
        SessionManager()


@pytest.mark.cli
def test_where_nothing_can_be_recorded_a_session_works_and_says_so(
    manager: SessionManager, own_data: Path
) -> None:
    own_data.mkdir(parents=True)
    ours = own_data / "claude_nb"
    ours.touch()
    session = manager.session("a")
    first, second = session.ask("ECHO one"), session.ask("ECHO two")
    assert first.result(PATIENCE).text == "<<<ECHO one>>>"
    assert "a is not recorded" in str(first.news)
    assert str(ours) in str(first.news)
    assert second.result(PATIENCE).text == "<<<ECHO two>>>"
    assert second.news is None
    assert [info.name for info in manager.overview()] == ["a"]
    ours.unlink()
    session.ask("ECHO three").result(PATIENCE)
    (ours / "transcripts").touch()
    assert session.suspend().result(PATIENCE)
    fourth = session.ask("ECHO four")
    assert fourth.result(PATIENCE).text == "<<<ECHO four>>>"
    assert "No second copy of the conversation of a is kept" in str(fourth.news)


@pytest.mark.cli
def test_where_nothing_can_run_one_line_says_why(
    manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    session = manager.session("a")
    (runtime / "claude_nb" / "locks").touch()
    with pytest.raises(FolderUnusable, match="JUPYTER_RUNTIME_DIR"):
        session.ask("ECHO one").result(PATIENCE)
    (runtime / "claude_nb" / "locks").unlink()
    assert session.ask("ECHO two").result(PATIENCE).text == "<<<ECHO two>>>"
