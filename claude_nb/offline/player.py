"""The blocks of an answer as the Messages API's events, and folded into one message.

`play` yields what happens in order: events to send, waits, and how the reply ends early. Whoever
sends them does the waiting, so that everything here is a function of its arguments.

    message_start
      content_block_start, content_block_delta..., content_block_stop     (for each block)
    message_delta    stop_reason and the tokens of the reply
    message_stop
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from claude_nb.offline.conversation import tool_id
from claude_nb.offline.script import Answer, Block, Drop, Error, Stop, Text, Tool, Wait, fill, fill_all

CHARACTERS_PER_TOKEN = 4
USUAL_CHUNK = 24  # characters: a few words, as the API sends them
# The API signs what it thought; nobody here checks it.
SIGNATURE = "b2ZmbGluZQ=="

Event = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """Ids that make a reply's own unique."""

    run: str
    serial: int

    @property
    def message_id(self) -> str:
        return f"msg_{self.run}_{self.serial}"


def tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def count(value: Any) -> int:
    """The tokens of a part of a request, from its length."""
    return tokens(json.dumps(value)) if value else 0


def input_usage(body: dict[str, Any]) -> dict[str, int]:
    """Tokens of a request: tools and system prompt are written to the cache once and read afterwards."""
    prefix = count(body.get("tools")) + count(body.get("system"))
    later = any(message["role"] == "assistant" for message in body["messages"])
    return {
        "input_tokens": count(body["messages"]),
        "cache_creation_input_tokens": 0 if later else prefix,
        "cache_read_input_tokens": prefix if later else 0,
    }


def pieces(block: Text, values: dict[str, str]) -> Iterator[str]:
    """The chunks that a text is sent in."""
    if block.repeat == 1 or block.chunk is not None:
        yield from cut(whole(block, values), USUAL_CHUNK if block.chunk is None else block.chunk)
        return
    for number in range(1, block.repeat + 1):
        yield block.text if block.raw else fill(block.text, values | {"n": str(number)})


def whole(block: Text, values: dict[str, str]) -> str:
    if block.raw:
        return block.text * block.repeat
    if "{n}" not in block.text:
        return fill(block.text, values) * block.repeat
    return "".join(fill(block.text, values | {"n": str(n)}) for n in range(1, block.repeat + 1))


def cut(text: str, size: int) -> Iterator[str]:
    size = size or max(len(text), 1)
    return (text[start : start + size] for start in range(0, len(text), size))


def play(answer: Answer, body: dict[str, Any], sent: Sent) -> Iterator[Event | Wait | Drop]:
    """Everything that happens when the answer is streamed. Leading errors and delays are the caller's."""
    usage = input_usage(body)
    stop, length, index = Stop(), 0, 0
    calls = False
    yield message_start(body, sent, usage)
    for block in answer.blocks:
        if isinstance(block, Stop):
            stop = block
        elif isinstance(block, Error):
            yield error_event(block, answer.values)
            return
        elif isinstance(block, Text | Tool):
            for item in content(block, answer, sent, index):
                length += delta_length(item)
                yield item
            calls, index = calls or isinstance(block, Tool), index + 1
        else:
            yield block
            if isinstance(block, Drop):
                return
    reason = "tool_use" if calls and stop.reason == "end_turn" else stop.reason
    usage = usage | {"output_tokens": max(1, -(-length // CHARACTERS_PER_TOKEN))} | stop.usage
    yield {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
    yield {"type": "message_stop"}


def message_start(body: dict[str, Any], sent: Sent, usage: dict[str, int]) -> Event:
    message = {
        "id": sent.message_id,
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage | {"output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


def content(block: Text | Tool, answer: Answer, sent: Sent, index: int) -> Iterator[Event | Wait]:
    """The events of one block, with the waits of a paced text between them."""
    if isinstance(block, Tool):
        yield from tool_call(block, answer, sent, index)
        return
    kind = "thinking" if block.thinking else "text"
    empty = {"type": kind, kind: ""} | ({"signature": ""} if block.thinking else {})
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for piece in pieces(block, answer.values):
        yield delta(index, f"{kind}_delta", kind, piece)
        if block.rate:
            yield Wait(1 / block.rate)
    if block.open:
        return
    if block.thinking:
        yield delta(index, "signature_delta", "signature", SIGNATURE)
    yield {"type": "content_block_stop", "index": index}


def tool_call(block: Tool, answer: Answer, sent: Sent, index: int) -> Iterator[Event]:
    given = block.input if block.raw else fill_all(block.input, answer.values)
    call = {
        "type": "tool_use",
        "id": tool_id(f"{sent.run}{index:02x}", sent.serial, answer.step),
        "name": block.name,
        "input": {},
    }
    yield {"type": "content_block_start", "index": index, "content_block": call}
    for piece in cut(json.dumps(given), 4096):
        yield delta(index, "input_json_delta", "partial_json", piece)
    yield {"type": "content_block_stop", "index": index}


def delta(index: int, kind: str, key: str, text: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}


def delta_length(item: Event | Wait) -> int:
    if isinstance(item, Wait) or item["type"] != "content_block_delta":
        return 0
    return sum(len(value) for key, value in item["delta"].items() if key != "type")


def error_event(block: Error, values: dict[str, str]) -> Event:
    return {"type": "error", "error": {"type": block.type, "message": fill(block.message, values)}}


def fold(events: Iterable[Event]) -> Event:
    """The one message that the events add up to: the reply where `stream` is false."""
    message: Event = {}
    parts: list[str] = []
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = event["message"]
        elif kind == "content_block_start":
            parts = []
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            parts.append(signed(message["content"][-1], event["delta"]))
        elif kind == "content_block_stop":
            finish(message["content"][-1], "".join(parts))
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] = event["usage"]
    return message


def signed(block: Event, change: Event) -> str:
    """The text of a delta; a signature goes straight into its block."""
    if change["type"] == "signature_delta":
        block["signature"] = change["signature"]
        return ""
    return str(change.get("text") or change.get("thinking") or change.get("partial_json") or "")


def finish(block: Event, text: str) -> None:
    if block["type"] == "tool_use":
        block["input"] = json.loads(text or "{}")
    else:
        block[block["type"]] = text


def leading(blocks: Iterable[Block]) -> Iterator[Error | Drop | Wait]:
    """What happens before the reply has begun: delays, errors, and a connection closed at once."""
    for block in blocks:
        if isinstance(block, Error | Drop) or (isinstance(block, Wait) and not block.mute):
            yield block
        else:
            return
