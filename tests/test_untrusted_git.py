"""Commands that Claude Code takes for reading, in a folder that nobody trusts: they run no program of its."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_nb.offline import OfflineAPI
from claude_nb.session_manager import SessionManager

pytestmark = pytest.mark.cli

SCRIPT = """
rules:
  - matches: ^RUN (.+)
    reply:
      - tool: Bash
        input: {command: "{1}", description: Look}
    then:
      - ok: [{text: "it ran: {result}"}]
        refused: [{text: "refused: {result}"}]
"""
PATIENCE = 100
# Each runs git, directly or by another program that Claude Code knows.
FORMS = (
    "git status",
    "git diff --stat",
    "git -C . status",
    "git --no-pager status",
    "cd . && git status",
    "ls; git status",
    "true | git status",
    "timeout 5 git status",
    "command git status",
    "GIT_PAGER=cat git status",
    "nice git status",
    "xargs git status",
    "echo a.txt | xargs git diff --stat",
    "/usr/bin/git status",
    "\\\\git status",
    "'git' status",
    "echo $(git status)",
    "(git status)",
    "if true; then git status; fi",
    "git log -p -1 && git status",
    "time git status",
    "env git status",
    "stdbuf -o0 git status",
    "nohup git status",
    "gh pr status",
)


@pytest.fixture
def offline() -> Iterator[OfflineAPI]:
    with OfflineAPI(SCRIPT) as api:
        yield api


@pytest.fixture
def ran(folder: Path, tmp_path: Path) -> Path:
    """A repository that names programs; they leave their names in this folder."""
    ran = tmp_path / "ran"
    ran.mkdir()
    names = {f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> None:
        subprocess.run(
            ["git", *words], cwd=folder, env={**os.environ, **names}, check=True, capture_output=True
        )

    def program(name: str) -> str:
        file = tmp_path / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\necho >> {ran}/{name}\ncat\n")
        file.chmod(0o755)
        return str(file)

    git("init", "-q")
    (folder / "a.txt").write_text("1\n")
    (folder / ".gitattributes").write_text("*.txt filter=evil diff=evil\n")
    git("add", ".")
    git("commit", "-qm", "x")
    (folder / "a.txt").write_text("2\n")
    os.utime(folder / "a.txt", (time.time() + 5, time.time() + 5))
    for key, name in {
        "core.fsmonitor": "fsmonitor",
        "filter.evil.clean": "clean",
        "diff.evil.textconv": "textconv",
    }.items():
        git("config", key, program(name))
    program("post-index-change")
    git("config", "core.hooksPath", str(tmp_path / "hooks"))
    return ran


def test_git_asks_before_it_runs_in_a_folder_that_is_not_trusted(
    manager: SessionManager, folder: Path, ran: Path
) -> None:
    session = manager.session()
    for form in FORMS:
        assert "nobody is there to be asked" in session.ask(f"RUN {form}").result(PATIENCE).text, form
        assert names(ran) == [], form
    manager.trusted.add(folder)
    session.stop().result(PATIENCE)
    reply = session.ask("RUN git status").result(PATIENCE)
    assert "Changes not staged" in reply.text  # asked nobody
    assert {"clean", "fsmonitor"} <= set(names(ran))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())
