"""What a chat reads from Claude Code's record, beside what the SDK reads from it. Pure."""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import get_session_messages

from claude_nb.recorded import messages
from claude_nb.transcript import find_transcript

pytestmark = pytest.mark.pure

SESSION = "0b8f6f0e-6f0c-4e0a-9a53-2f7d7c1f4b11"
Line = dict[str, Any]


class Record:
    """A record that grows as Claude Code writes it; `last` is what the next line is the child of."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.lines: list[Line] = []
        self.last: str | None = None
        self.prompts = 0

    def add(self, kind: str, content: Any = None, parent: str | None = None, **more: Any) -> str:
        id = str(uuid.UUID(int=self.chance.getrandbits(128)))
        time = f"2026-01-01T00:{len(self.lines) // 60:02}:{len(self.lines) % 60:02}.000Z"
        message = {"role": kind, "content": content, "id": more.pop("response", None)}
        line = {"type": kind, "uuid": id, "parentUuid": parent or self.last, "timestamp": time, **more}
        self.lines.append(line | ({} if content is None else {"message": message}))
        self.last = id
        return id

    def prompt(self) -> None:
        self.prompts += 1
        self.add("user", [{"type": "text", "text": f"prompt {self.prompts}"}])
        self.add("attachment")

    def reply(self) -> None:
        self.add("assistant", [{"type": "text", "text": "a reply"}], response=f"r{len(self.lines)}")
        self.lines.append({"type": "last-prompt", "leafUuid": self.last})

    def tools(self, count: int) -> None:
        """Called side by side: each result is the child of its own call."""
        response, calls = f"r{len(self.lines)}", []
        for _ in range(count):
            name = f"call{len(self.lines)}"
            use = {"type": "tool_use", "id": name, "name": "Bash", "input": {}}
            calls.append((self.add("assistant", [use], response=response), name))
        for parent, name in calls:
            result = {"type": "tool_result", "tool_use_id": name, "content": "done"}
            self.add("user", [result], parent=parent, sourceToolAssistantUUID=parent)

    def take_back(self) -> None:
        """Go on from a prompt that was asked before, in another way."""
        asked = [line for line in self.lines if line["type"] == "attachment"]
        if asked:
            self.last = self.chance.choice(asked)["parentUuid"]
            self.reply()

    def write(self, folder: Path) -> None:
        file = folder / "projects" / "-place" / f"{SESSION}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{json.dumps(line)}\n" for line in self.lines))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    return tmp_path


def some_record(chance: random.Random) -> Record:
    record = Record(chance)
    for _ in range(chance.randrange(1, 12)):
        record.prompt()
        for _ in range(chance.randrange(3)):
            record.tools(chance.randrange(1, 4))
        record.reply()
        if chance.random() < 0.2:
            record.add("user", [{"type": "text", "text": "for Claude"}], isMeta=True)
        if chance.random() < 0.2:
            record.take_back()
    record.prompt()
    record.reply()
    return record


def test_a_record_says_what_the_sdk_says_of_it(folder: Path) -> None:
    for seed in range(200):
        some_record(random.Random(seed)).write(folder)
        said = [message["uuid"] for message in messages(find_transcript(SESSION))]
        assert said == [message.uuid for message in get_session_messages(SESSION)], seed


def test_as_much_is_read_as_is_wanted(folder: Path) -> None:
    record = Record(random.Random(1))
    for _ in range(20):
        record.prompt()
        record.tools(3)
        record.reply()
    record.write(folder)
    everything = messages(find_transcript(SESSION))
    asked: list[Line] = []

    def enough(message: Line) -> bool:
        asked.append(message)
        return message["message"]["content"][0].get("text") == "prompt 19"

    last = messages(find_transcript(SESSION), enough)
    assert last == everything[-len(last) :]
    assert len(last) == 2 * len(everything) // 20
    assert len(asked) <= len(last)


def test_where_there_is_no_record_nothing_was_said(folder: Path) -> None:
    assert messages(find_transcript(SESSION)) == []
    Record(random.Random(1)).write(folder)
    assert messages(find_transcript(SESSION)) == []
