"""Whole kernels and the real CLI: rules, modes and policies, and the commands about them. Some are pure."""

from __future__ import annotations

import html
import json
import os
import sys
from pathlib import Path

import pytest
from claude_agent_sdk.types import PermissionRuleValue, PermissionUpdate
from kernel_kit import MANAGER, PATIENCE, Cell, Kernel, answering

from claude_nb.asking import rules
from claude_nb.registry import Record

in_kernel = pytest.mark.kernel
pure = pytest.mark.pure
TABLE = "%claude /permissions"


def table(kernel: Kernel) -> dict[str, str]:
    """What is allowed, and why."""
    text = kernel.run(TABLE).displays[0]["text/markdown"]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:] if line.startswith("| ")]
    return {html.unescape(what): html.unescape(why) for what, why in rows}


def user_settings(**permissions: list[str]) -> None:
    """The user's own settings of Claude Code."""
    file = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "settings.json"
    file.write_text(json.dumps({"permissions": permissions}))


def refused(cell: Cell) -> bool:
    assert cell.error is None, cell.shown_error
    return "refused:" in cell.markdown


# -- Claude Code's own rules and modes ------------------------------------------------------------------


@in_kernel
def test_rules_of_the_users_own_settings_decide_before_anybody_is_asked(
    headless: Kernel, folder: Path
) -> None:
    user_settings(allow=["Bash(touch *)"], deny=["Bash(touch never*)"])
    assert not refused(headless.run("%claude touch a.txt"))
    assert refused(headless.run("%claude touch never.txt"))
    headless.run("%claude /permissions allow Bash(touch never*)")
    assert refused(headless.run("%claude touch never.txt"))
    assert refused(headless.run("%claude write the file b.txt"))
    told = table(headless)
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert told["Bash(touch *)"] == "your own settings of Claude Code"
    assert "is refused: your own settings of Claude Code" in told.values()
    assert told["everything else"] == "is refused: nobody is there to be asked"


@in_kernel
def test_the_modes_are_claude_codes_own(kernel: Kernel, folder: Path) -> None:
    kernel.run("%claude /mode acceptEdits")
    assert not refused(kernel.run(f"%claude write the file {folder}/a.txt"))
    assert (folder / "a.txt").exists()
    assert "mode acceptEdits" in table(kernel)["edits of files in the folder"]
    _, prompts = answering(kernel, kernel.start_cell("%claude run: touched = True"), "n")
    assert len(prompts) == 1
    kernel.run("%claude /mode plan")
    cell, _ = answering(kernel, kernel.start_cell(f"%claude write the file {folder}/b.txt"), "n: plan first")
    assert "plan first" in cell.markdown
    assert not (folder / "b.txt").exists()
    assert "mode plan" in str(table(kernel))


# -- the policy --------------------------------------------------------------------------------------------


@in_kernel
def test_allow_reads_allows_reading_anywhere_and_nothing_else(headless: Kernel, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("what stands outside")
    assert refused(headless.run(f"%claude read the file {outside}"))
    headless.run("%config SessionManager.permission_policy = 'allow_reads'")
    assert "what stands outside" in headless.run(f"%claude read the file {outside}").markdown
    assert refused(headless.run(f"%claude write the file {outside}"))
    assert refused(headless.run("%claude touch x.txt"))
    assert refused(headless.run("%claude run: touched = True"))
    assert outside.read_text() == "what stands outside"
    assert "allow_reads" in table(headless)["tools that only read, anywhere"]


@in_kernel
def test_a_rule_of_the_users_to_ask_is_stronger_than_allow_reads(headless: Kernel, folder: Path) -> None:
    (folder / "private.txt").write_text("what is private")
    user_settings(ask=[f"Read(/{folder}/private.txt)"])
    headless.run("%config SessionManager.permission_policy = 'allow_reads'")
    cell = headless.run(f"%claude read the file {folder}/private.txt")
    assert "what is private" not in cell.markdown
    assert "asks you: your own settings" in str(table(headless))


@in_kernel
def test_deny_refuses_what_would_ask_and_looking_goes_on(kernel: Kernel) -> None:
    kernel.run("%config SessionManager.permission_policy = 'deny'; word = 'heron'")
    kernel.run("word = 'heron'")
    assert refused(kernel.run("%claude touch x.txt"))
    assert "heron" in kernel.run("%claude inspect word").markdown
    assert table(kernel)["everything else"] == "is refused: permission_policy is 'deny'"


# -- our rules -------------------------------------------------------------------------------------------


@in_kernel
def test_a_rule_that_was_allowed_survives_suspend_and_restart_until_it_is_forgotten(
    own_kernel: Kernel, folder: Path
) -> None:
    said = own_kernel.run("%claude /permissions allow Bash(touch *)").printed
    assert said == "Bash(touch *) is allowed in this session.\n"
    for name in ("a", "b"):
        assert not refused(own_kernel.run(f"%claude touch {name}.txt"))
        own_kernel.run("%claude /suspend")
    own_kernel.manager.restart_kernel()
    own_kernel.client.wait_for_ready(timeout=PATIENCE)
    own_kernel.run("%load_ext claude_nb")
    assert table(own_kernel)["Bash(touch *)"] == "always allowed in this session"
    assert not refused(own_kernel.run("%claude touch c.txt"))
    own_kernel.run("%claude /permissions forget Bash(touch *)")
    assert "Bash(touch *)" not in table(own_kernel)
    answering(own_kernel, own_kernel.start_cell("%claude touch d.txt"), "n")
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt", "c.txt"]


@in_kernel
def test_quotation_marks_in_a_rule_are_kept_and_what_is_no_rule_is_said(kernel: Kernel) -> None:
    rule = 'Bash(git commit -m "it\'s  done")'
    kernel.run(f"%claude /permissions allow {rule}")
    assert kernel.eval(f"{MANAGER}.session().record.rules") == repr([rule])
    for wrong in ("allow", "allow (x)", "allow two words", "forget Bash(other)", "nonsense"):
        cell = kernel.run(f"%claude /permissions {wrong}")
        assert cell.reply["status"] == "error"
        assert cell.printed.startswith("UsageError: ")
    assert kernel.eval(f"{MANAGER}.session().record.rules") == repr([rule])


@in_kernel
def test_no_server_of_another_takes_the_place_of_ours(headless: Kernel, tmp_path: Path) -> None:
    """Else its tools would be allowed unasked, as ours that look are."""
    server = {"command": sys.executable, "args": ["-c", f"open({str(tmp_path / 'ran')!r}, 'w')"]}
    headless.run(f"%config SessionManager.mcp_servers = {{'kernel': {server!r}}}")
    cell = headless.run("%claude list the variables")
    assert cell.error is not None
    assert "cannot be called 'kernel'" in cell.shown_error
    assert "Traceback" not in cell.shown_error
    headless.run("%config SessionManager.mcp_servers = {}")
    configuration = Path(os.environ["CLAUDE_CONFIG_DIR"]) / ".claude.json"
    known = json.loads(configuration.read_text()) if configuration.exists() else {}
    configuration.write_text(json.dumps({**known, "mcpServers": {"kernel": server}}))
    headless.run("mine = 'heron'")
    assert "mine" in headless.run("%claude list the variables").markdown


# -- always, pure -----------------------------------------------------------------------------------------


def allow(*rules: tuple[str, str | None], **fields: object) -> PermissionUpdate:
    values = [PermissionRuleValue(tool_name=tool, rule_content=content) for tool, content in rules]
    return PermissionUpdate(type="addRules", rules=values, behavior="allow", **fields)  # type: ignore[arg-type]


@pure
def test_only_what_allows_something_is_offered_and_for_this_session_only() -> None:
    update = allow(("Bash", "git diff:*"), destination="userSettings")
    others = [
        PermissionUpdate(type="setMode", mode="bypassPermissions"),
        PermissionUpdate(type="removeRules", rules=update.rules, behavior="deny"),
        PermissionUpdate(type="addRules", rules=update.rules, behavior="deny"),
        PermissionUpdate(type="addRules", rules=[], behavior="allow"),
        PermissionUpdate(type="addDirectories", directories=[]),
        PermissionUpdate(type="replaceRules", rules=update.rules, behavior="allow"),
    ]
    found = rules.suggested([update, *others])
    assert [(each.type, each.destination) for each in found] == [("addRules", "session")]
    assert rules.in_words(found) == "Bash(git diff:*)"
    assert rules.in_words([]) is None


@pure
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("echo\nrm -rf /", "Bash(echo\u240arm -rf /)"),
        ("a\tb", "Bash(a\u2409b)"),
        ("a\x1b[2Kb", "Bash(a\u241b[2Kb)"),
        ("ls \u202ecod.txt", "Bash(ls \u27e6U+202E\u27e7cod.txt)"),
        (None, "Bash"),
    ],
)
def test_all_of_a_rule_is_seen_in_what_always_says(content: str | None, words: str) -> None:
    assert rules.in_words([allow(("Bash", content))]) == words


@pure
def test_everything_that_always_keeps_was_in_its_words() -> None:
    updates = rules.suggested(
        [
            allow(("Bash", "ls:*"), ("Edit", None)),
            PermissionUpdate(type="addDirectories", directories=["/data", "/more"]),
        ]
    )
    record = Record(id="1", session_id="2", name="a", folder="/work")
    rules.remember(record, updates)
    words = rules.in_words(updates) or ""
    for kept in (*record.rules, *record.allowed_dirs, record.permission_mode or ""):
        assert kept in words
    assert rules.settings(record) == {
        "permissions": {"allow": ["Bash(ls:*)", "Edit"], "additionalDirectories": ["/data", "/more"]}
    }


@pure
def test_always_to_a_command_is_about_the_command() -> None:
    """Claude Code suggests all three for `touch a.txt` in the session's folder."""
    edits = PermissionUpdate(type="setMode", mode="acceptEdits")
    own = PermissionUpdate(type="addDirectories", directories=["/project", "/project/data"])
    assert rules.in_words(rules.suggested([allow(("Bash", "touch a.txt")), own, edits], "/project")) == (
        "Bash(touch a.txt)"
    )
    words = rules.in_words(rules.suggested([edits], "/project"))
    assert words == "edits of files in this folder (mode acceptEdits)"


@in_kernel
def test_always_to_a_command_leaves_edits_as_they_were(kernel: Kernel, folder: Path) -> None:
    answering(kernel, kernel.start_cell("%claude touch a.txt"), "a")
    assert kernel.run("%claude touch a.txt").error is None
    _, prompts = answering(kernel, kernel.start_cell(f"%claude write the file {folder}/b.txt"), "n")
    assert len(prompts) == 1
    kernel.run("%claude /suspend")
    assert not refused(kernel.run("%claude touch a.txt"))
    assert "mode acceptEdits" not in str(table(kernel))


# -- cells that Claude makes ------------------------------------------------------------------------------


def next_input(cell: Cell) -> list[str]:
    return [part["text"] for part in cell.reply["payload"] if part["source"] == "set_next_input"]


@in_kernel
def test_code_puts_a_block_of_the_last_reply_into_the_next_cell(kernel: Kernel) -> None:
    assert "has no code" in kernel.run("%claude /code").printed
    kernel.run("%claude show me code")
    assert next_input(kernel.run("%claude /code")) == ["x = 1"]
    assert next_input(kernel.run("%claude /code 2")) == ["if x:\n    y = '%d' % x"]
    for wrong in ("3", "0", "-1", "x"):
        cell = kernel.run(f"%claude /code {wrong}")
        assert "2 code blocks" in cell.printed
        assert next_input(cell) == []


@in_kernel
def test_add_cell_asks_and_fills_one_cell_a_turn(kernel: Kernel) -> None:
    cell, prompts = answering(kernel, kernel.start_cell("%claude add: added = 1"), "y")
    assert len(prompts) == 1
    assert next_input(cell) == ["added = 1"]
    assert "The cell was added below" in cell.markdown
    assert kernel.eval("'added' in globals()") == "False"
    cell, _ = answering(kernel, kernel.start_cell("%claude add: unwanted = 1"), "n")
    assert next_input(cell) == []
    cell, prompts = answering(kernel, kernel.start_cell("%claude add twice twice"), "y")
    assert len(prompts) == 1, "what cannot be done is not asked about"
    assert next_input(cell) == ["twice = 1"]
    assert "one cell was added in this turn already" in cell.markdown


@in_kernel
def test_add_cell_is_refused_with_a_reason_where_no_cell_waits(kernel: Kernel) -> None:
    kernel.run("%claude /permissions allow mcp__kernel__add_cell")
    kernel.run("%claude -b -o turn add: added = 1")
    cell = kernel.run("import time\nwhile not turn.done(): time.sleep(0.05)\nturn.reply.text")
    assert next_input(cell) == []
    assert "only possible while the user's cell waits" in cell.value
