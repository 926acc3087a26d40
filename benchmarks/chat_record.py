"""A long conversation, as Claude Code records it: one real turn, and copies of it before a last one."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from benchmarks.python_api import PATIENCE, manager
from claude_nb.transcript import find_transcript

Line = dict[str, Any]

LAST = "the last of all"
# What people ask and get: a few sentences, a list, some code.
REPLY = """\
It is **number {number}**. The table has `1,204` rows, of which *three* lack a price; see the
[documentation](https://example.org/) for what $\\bar x$ is without them.

- first the rows without a price go,
- then the rest is grouped.

```python
table = table.dropna(subset=["price"])
print(table.groupby("kind").price.mean())  # {number}
```
"""


def record(name: str, messages: int) -> None:
    """A session of that name in this folder, suspended, in which so many messages were said."""
    with manager() as ours:
        session = ours.session(name)
        session.ask(f"repeat {LAST}").result(PATIENCE)
        session.suspend().result(PATIENCE)
        path = find_transcript(session.id)
    assert path is not None
    lengthen(path, messages // 2 - 1)


def lengthen(path: Path, turns: int) -> None:
    """Put so many turns before the one that the transcript has; written in place, as Claude Code does."""
    lines: list[Line] = [json.loads(line) for line in path.read_text().splitlines()]
    prompt = next(line for line in lines if line.get("type") == "user")
    reply = next(line for line in lines if line.get("type") == "assistant")
    added: list[Line] = []
    parent = prompt["parentUuid"]
    for number in range(turns):
        for line, text in ((prompt, f"Prompt {number}"), (reply, REPLY.format(number=number))):
            added.append(copied(line, parent, text))
            parent = added[-1]["uuid"]
    place = lines.index(prompt)
    lines[place] = prompt | {"parentUuid": parent}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [*lines[:place], *added, *lines[place:]]))


def copied(line: Line, parent: str | None, text: str) -> Line:
    message = line["message"] | {"content": [{"type": "text", "text": text}]}
    return line | {"uuid": str(uuid.uuid4()), "parentUuid": parent, "message": message}
