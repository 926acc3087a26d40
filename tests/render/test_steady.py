"""What a card shows is equal in every run, though Claude Code names its background work anew. Pure."""

from __future__ import annotations

import pytest

from claude_nb.render.cards import tool_card, tool_line
from claude_nb.render.html import tool_html
from claude_nb.reply import ToolUseBlock

pytestmark = pytest.mark.pure

FOLDER = "/tmp/claude-0/-home-me-w/cd7b9f1f-d524-4c06-8802-4479ed5da1f9/tasks"


def shown(name: str, tool_input: dict[str, object], result: str) -> str:
    block = ToolUseBlock("id", name, tool_input, result=result, state="ok", done=True)
    card = tool_card(name, tool_input, state="ok", result=result, output_mode="verbose")
    return "\n".join([card, tool_html(block), tool_line(name, tool_input, "ok")])


@pytest.mark.parametrize(
    ("name", "tool_input", "result"),
    [
        (
            "Bash",
            {"command": "make all", "run_in_background": True},
            "Command running in background with ID: {id}. Output is being written to: {folder}/{id}.output. "
            "To check interim output, use Read on that file path.",
        ),
        (
            "Agent",
            {"prompt": "count birds", "description": "Count"},
            "Async agent launched successfully.\nagentId: {id} (internal ID, to: '{id}')\n"
            "output_file: {folder}/{id}.output",
        ),
        ("TaskOutput", {"task_id": "{id}", "block": True}, "task_id: {id}, ended"),
        ("TaskStop", {"task_id": "{id}"}, "Stopped"),
        ("KillShell", {"shell_id": "{id}"}, "Killed"),
        ("SendMessage", {"to": "{id}", "message": "Go on"}, "Sent"),
        ("Read", {"file_path": "{folder}/{id}.output"}, "It is empty."),
        ("Bash", {"command": "tail {folder}/{id}.output"}, "1\n2"),
    ],
)
def test_ids_and_temporary_files_of_claude_code_are_left_out(
    name: str, tool_input: dict[str, object], result: str
) -> None:
    runs = []
    for id, folder in (("bbk2777bt", FOLDER), ("a7a618d263440cc68", FOLDER.replace("cd7b", "0a1f"))):
        filled = {
            key: value.format(id=id, folder=folder) if isinstance(value, str) else value
            for key, value in tool_input.items()
        }
        runs.append(shown(name, filled, result.format(id=id, folder=folder)))
    assert runs[0] == runs[1]
    assert "claude-0" not in runs[0]


def test_what_is_not_claude_codes_own_stays() -> None:
    for text in ("/home/me/claude-notes/x.py", "an ID: short", "beautiful 123456789", "to: somebody"):
        assert text in shown("Grep", {"pattern": "x"}, text)
    assert FOLDER in shown("Write", {"file_path": "x.py", "content": f"open('{FOLDER}')"}, "Written")
