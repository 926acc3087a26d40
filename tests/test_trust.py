"""Whole kernels and the real CLI: a folder's own settings, hooks and servers, before and after `/trust`."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import Kernel, answering, running_kernel

from claude_nb.offline import OfflineAPI
from claude_nb.trust import FolderSettings, Rules, Trusted, trusted_by_claude_code

MEMORY = "always answer like a heron"
SERVER = """\
import pathlib, sys
pathlib.Path(sys.argv[1]).touch()
from mcp.server.fastmcp import FastMCP
app = FastMCP("foreign")
@app.tool()
def hello() -> str:
    return "hello"
app.run()
"""
in_kernel = pytest.mark.kernel


class Hostile:
    """A folder with settings that run programs, and what they would leave behind."""

    def __init__(self, folder: Path, outside: Path) -> None:
        self.folder = folder
        self.hooked = outside / "hook-ran"
        self.served = outside / "server-ran"
        program = outside / "server.py"
        program.write_text(SERVER)
        hook = {"hooks": [{"type": "command", "command": f"touch {self.hooked}"}]}
        self._write(
            ".claude/settings.json",
            {
                "hooks": {"SessionStart": [hook], "UserPromptSubmit": [hook]},
                "permissions": {"allow": ["Bash(touch *)"], "deny": ["Bash(rm *)"]},
            },
        )
        server = {"command": sys.executable, "args": [str(program), str(self.served)]}
        self._write(".mcp.json", {"mcpServers": {"foreign": server}})
        (folder / "CLAUDE.md").write_text(MEMORY)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(json.dumps(value))

    @property
    def ran(self) -> list[str]:
        """What has run since somebody looked."""
        found = [path.name for path in (self.hooked, self.served) if path.exists()]
        for path in (self.hooked, self.served):
            path.unlink(missing_ok=True)
        return found


@pytest.fixture
def hostile(folder: Path, tmp_path: Path) -> Hostile:
    return Hostile(folder, tmp_path)


@in_kernel
def test_nothing_of_a_folder_runs_or_is_read_before_it_is_trusted(
    hostile: Hostile, kernel: Kernel, api: OfflineAPI
) -> None:
    first = kernel.run("%claude ECHO one")
    assert "CLAUDE.md is not read. <code>%claude /trust</code> loads it" in first.markdown
    assert MEMORY not in str(api.requests[-1])
    assert hostile.ran == []
    assert "/trust" not in kernel.run("%claude ECHO two").markdown
    _, prompts = answering(kernel, kernel.start_cell("%claude touch x.txt"), "n")
    assert len(prompts) == 1
    assert hostile.ran == []
    assert "Bash(touch *)" not in str(kernel.run("%claude /permissions").displays)


@in_kernel
def test_where_nobody_is_there_no_hint_is_given(hostile: Hostile, headless: Kernel) -> None:
    assert "/trust" not in headless.run("%claude ECHO one").markdown
    assert hostile.ran == []


@in_kernel
def test_trust_loads_them_says_what_they_run_and_is_remembered(
    hostile: Hostile, kernel: Kernel, api: OfflineAPI, own_data: Path
) -> None:
    kernel.run("%claude ECHO before")
    shown = kernel.run("%claude /trust")
    said = shown.printed + shown.markdown
    assert "SessionStart" in said
    assert "foreign" in said
    assert "rules are ignored" in said
    assert "Bash(touch *)" in said
    assert hostile.ran == []
    kernel.run("%claude ECHO after")
    assert hostile.ran == ["hook-ran", "server-ran"]
    assert MEMORY in str(api.requests[-1])
    file = own_data / "claude_nb" / "trusted.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # Claude Code ignores the rule for as long as it does not trust the folder itself.
    _, prompts = answering(kernel, kernel.start_cell("%claude touch x.txt"), "n")
    assert len(prompts) == 1
    table = str(kernel.run("%claude /permissions").displays)
    assert "ignored: Claude Code itself does not trust the folder" in table
    with running_kernel(hostile.folder) as another:
        assert "/trust" not in another.run("%claude -s another ECHO there").markdown
        assert hostile.ran == ["hook-ran", "server-ran"]
        another.run("%claude /trust --forget")
        another.run("%claude -s another ECHO gone")
        assert hostile.ran == []


@in_kernel
def test_claude_codes_own_flag_is_followed_and_never_written(
    hostile: Hostile, kernel: Kernel, api: OfflineAPI
) -> None:
    configuration = Path(os.environ["CLAUDE_CONFIG_DIR"]) / ".claude.json"
    kernel.run("%claude /trust")
    kernel.run("%claude ECHO one")
    assert '"hasTrustDialogAccepted": true' not in configuration.read_text()
    kernel.run("%claude /suspend")
    known = json.loads(configuration.read_text())
    known.setdefault("projects", {}).setdefault(str(hostile.folder), {})["hasTrustDialogAccepted"] = True
    configuration.write_text(json.dumps(known))
    assert "the folder's settings" in str(kernel.run("%claude /permissions").displays).replace("&#39;", "'")
    cell = kernel.run("%claude touch x.txt")
    assert (hostile.folder / "x.txt").exists(), cell.markdown


@pytest.mark.pure
def test_an_answer_to_claude_code_holds_for_the_folders_below(tmp_path: Path) -> None:
    environ = {"CLAUDE_CONFIG_DIR": str(tmp_path)}
    below = tmp_path / "a" / "b"
    assert not trusted_by_claude_code(below, environ)
    accepted = {str((tmp_path / "a").resolve()): {"hasTrustDialogAccepted": True}}
    (tmp_path / ".claude.json").write_text(json.dumps({"projects": accepted}))
    assert trusted_by_claude_code(below, environ)
    assert not trusted_by_claude_code(tmp_path, environ)


@pytest.mark.pure
def test_a_trusted_folder_is_one_place_however_it_is_reached(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    trusted = Trusted(tmp_path / "data")
    trusted.add(link)
    assert folder in trusted
    assert folder / "below" not in trusted
    trusted.remove(folder)
    assert link not in trusted


@pytest.mark.pure
@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '{"permissions": []}', '{"permissions": {"allow": 1}}']
)
def test_settings_that_are_none_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text(text)
    (tmp_path / ".mcp.json").write_text(text)
    assert Rules.of(tmp_path / ".claude" / "settings.json") == Rules()
    found = FolderSettings.of(tmp_path)
    assert (found.rules, found.hooks, found.servers) == ((), (), ())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "trusted.json").write_text(text)
    assert tmp_path not in Trusted(tmp_path / "data")
