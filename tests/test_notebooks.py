"""A conversation follows its notebook through renames, and never goes to another file of the same name.

A real Jupyter server renames real files; the kernels are its own, and the real CLI is behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_kit import MANAGER, Kernel, environment
from server_kit import Server, running_server

from claude_nb.notebooks import Notebook
from claude_nb.offline import OfflineAPI
from claude_nb.registry import Registry


@pytest.fixture(scope="module")
def server(offline: OfflineAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("server")
    (place / "claude").mkdir(mode=0o700)
    with environment(offline.environment(place / "claude")), running_server(place) as server:
        yield server


def notebook(server: Server, path: str, *cells: str) -> Path:
    """A new one, written by the server."""
    code = [
        {"cell_type": "code", "id": id, "metadata": {}, "source": "", "outputs": [], "execution_count": None}
        for id in cells
    ]
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": code}
    server.call("PUT", f"api/contents/{path}", {"type": "notebook", "content": content})
    return server.place / "work" / path


def told(kernel: Kernel) -> None:
    assert "Noted" in kernel.run("%claude the code word is heron").markdown


def asked(kernel: Kernel) -> str:
    cell = kernel.run("%claude what is the code word")
    assert cell.error is None, cell.shown_error
    return re.sub(r"</?code>|&#39;|'", "", cell.markdown)


def current(kernel: Kernel) -> str:
    return kernel.eval(f"{MANAGER}.session().name").strip("'")


# -- with a server -----------------------------------------------------------------------------------


@pytest.mark.kernel
def test_a_renamed_notebook_keeps_its_conversation_and_the_next_of_its_old_name_has_none(
    server: Server,
) -> None:
    notebook(server, "Untitled.ipynb")
    with server.open("Untitled.ipynb") as kernel:
        told(kernel)
        assert kernel.run("%claude /permissions allow Bash(ls:*)").error is None
        server.rename("Untitled.ipynb", "analysis.ipynb")
        assert "heron" in asked(kernel)  # the kernel runs on
        notebook(server, "Untitled.ipynb")
        kernel.restart(server)  # and still has the old name in its environment
        first = asked(kernel)
        assert "Continuing the conversation analysis (called Untitled before" in first
        assert "heron" in first
        with server.open("Untitled.ipynb") as fresh:
            assert "no code word" in asked(fresh)
            assert current(fresh) == "Untitled"
            assert "Bash(ls:*)" not in str(fresh.run("%claude /permissions").displays)
    with server.open("analysis.ipynb") as kernel:
        first = asked(kernel)
        assert "Continuing the conversation analysis." in first
        assert "heron" in first
        assert "Bash(ls:*)" in str(kernel.run("%claude /permissions").displays)
    server.rename("analysis.ipynb", "final.ipynb")  # while nobody has it open
    with server.open("final.ipynb") as kernel:
        assert "heron" in asked(kernel)
        assert current(kernel) == "final"
    with server.open("Untitled.ipynb") as kernel:  # the same file, but its name says nothing
        first = asked(kernel)
        assert "no code word" in first
        assert "There is another, Untitled of Untitled.ipynb (1 turn" in first
        assert "%claude /switch Untitled takes it up" in first


@pytest.mark.kernel
def test_a_rename_that_cannot_be_followed_is_told_and_the_conversation_can_be_taken_up_without_its_rules(
    server: Server,
) -> None:
    old = notebook(server, "lost.ipynb")
    with server.open("lost.ipynb") as kernel:
        told(kernel)
        assert kernel.run("%claude /permissions allow Bash(ls:*)").error is None
    old.unlink()
    notebook(server, "found.ipynb")
    with server.open("found.ipynb") as kernel:
        first = asked(kernel)
        assert "no code word" in first
        assert "There is another, lost of lost.ipynb (1 turn" in first
        assert kernel.run("%claude /switch lost").error is None
        first = asked(kernel)
        assert "heron" in first
        assert "What was always allowed in lost.ipynb is asked about again here." in first
        assert "Bash(ls:*)" not in str(kernel.run("%claude /permissions").displays)
    with server.open("found.ipynb") as kernel:  # it is this notebook's now
        assert "heron" in asked(kernel)


@pytest.mark.kernel
def test_a_notebook_that_moves_to_another_folder_takes_its_conversation_along(server: Server) -> None:
    (server.place / "work" / "sub").mkdir()
    notebook(server, "moved.ipynb")
    with server.open("moved.ipynb") as kernel:
        told(kernel)
    server.rename("moved.ipynb", "sub/moved.ipynb")
    with server.open("sub/moved.ipynb") as kernel:
        assert "heron" in asked(kernel)
    registry = Registry(server.place / "data" / "claude_nb", server.place / "runtime" / "claude_nb")
    record = registry.find("moved", server.place / "work" / "sub")
    assert record is not None
    assert record.cwd == str(server.place / "work" / "sub")
    assert registry.find("moved", server.place / "work") is None


# -- what proves that it is the same file ------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.ipynb"
    file.write_text('{"cells": [{"id": "cell-1"}]}')
    return file


def copied(file: Path, to: Path) -> Path:
    """Another file of the same content."""
    new = file.with_name("copy")
    new.write_bytes(file.read_bytes())
    return new.replace(to)


@pytest.mark.pure
def test_a_file_is_known_again_by_what_a_rename_keeps(file: Path) -> None:
    known = Notebook.at(str(file))
    assert known.inode is not None
    moved = file.rename(file.with_name("b.ipynb"))
    assert known.is_same(Notebook.at(str(moved)))
    assert known.follow(Notebook.at(str(file), "k")) == Notebook.at(str(moved), "k")
    file.write_text("{}")
    assert not known.is_same(Notebook.at(str(file)))
    assert known.follow(Notebook.at(str(file), "k")) == Notebook.at(str(moved), "k")
    assert not known.is_same(Notebook())
    assert Notebook().is_same(Notebook())


@pytest.mark.pure
def test_the_kernel_that_was_restarted_runs_the_same_notebook(file: Path) -> None:
    known = Notebook.at(str(file), "k")
    other = Notebook.at(str(file.with_name("gone.ipynb")), "k")
    assert known.is_same(other)
    assert not known.is_same(Notebook(other.path, kernel="another"))


@pytest.mark.pure
def test_a_file_that_was_replaced_or_moved_by_copying_is_known_by_its_cells(file: Path) -> None:
    known = Notebook.at(str(file))
    copied(file, file)
    now = Notebook.at(str(file))
    assert now.inode != known.inode
    assert not known.is_same(now)
    assert not known.is_same(now, ["another"])
    assert known.is_same(now, ["another", "cell-1"])
    known = now
    copy = Notebook.at(str(copied(file, file.with_name("copied.ipynb"))))
    assert not known.is_same(copy, ["cell-1"])  # a copy beside the original
    file.unlink()
    assert known.is_same(copy, ["cell-1"])


@pytest.mark.pure
def test_an_inode_whose_birth_is_not_known_may_be_another_files(file: Path) -> None:
    now = Notebook.at(str(file))
    known = Notebook(now.path, now.inode, None)
    assert known.is_same(now)
    assert known.is_same(now, ["cell-1"])
    assert not known.is_same(now, ["another"])
    elsewhere = Notebook(str(file.with_name("gone.ipynb")), now.inode, None)
    assert not elsewhere.is_same(now)
    assert elsewhere.is_same(now, ["cell-1"])


@pytest.mark.pure
def test_a_path_that_the_kernel_cannot_see_is_all_that_there_is_to_go_by() -> None:
    known = Notebook.at("/nowhere/a.ipynb")
    assert known.is_same(Notebook.at("/nowhere/a.ipynb"))
    assert not known.is_same(Notebook.at("/nowhere/b.ipynb"))
    assert Notebook.said(json.loads(json.dumps(known.as_json()))) == known
