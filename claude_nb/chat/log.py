"""What a chat shows, as a list of entries, and what changes from one state of it to the next. Pure.

Everything in a chat is an `Entry`: a prompt, a piece of the reply, a tool call, a question, a notice, what a
command answered. Those
of one turn stand together. A reply grows at its end, so an entry has two parts: `html`, which is finished
and only ever added to, and `tail`, which is replaced. What changes is told in *operations*, which the page
(`static/chat.js`) and `applied` carry out:

    set      the whole entry, new or other; it stands after the entry `after` ("" is the very beginning)
    grow     add `html` to the finished part; keep `keep` UTF-16 units of the tail and add `tail`
    remove   the entry is gone
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["prompt", "text", "thinking", "tool", "images", "question", "notice", "end", "answer"]
Op = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One thing in a chat.

    `more` is what the page needs beside the HTML: the form of a question, how a turn ended.
    """

    id: str
    turn: str
    kind: Kind
    html: str = ""
    tail: str = ""
    done: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """For the page."""
        return {
            "id": self.id,
            "turn": self.turn,
            "kind": self.kind,
            "html": self.html,
            "tail": self.tail,
            "done": self.done,
            "more": dict(self.more),
        }


class ChatLog:
    """The turns of a chat in their order, each with its entries."""

    def __init__(self) -> None:
        self._turns: dict[str, list[Entry]] = {}

    def __repr__(self) -> str:
        return f"<ChatLog: {len(self._turns)} turns>"

    def __contains__(self, turn: str) -> bool:
        return turn in self._turns

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def turns(self) -> list[str]:
        """The first one first."""
        return list(self._turns)

    def entries(self, turn: str | None = None) -> list[Entry]:
        """Those of one turn, or all."""
        if turn is not None:
            return list(self._turns.get(turn, ()))
        return [entry for entries in self._turns.values() for entry in entries]

    def update(self, turn: str, entries: Sequence[Entry]) -> list[Op]:
        """The turn, new or known, has these entries now; what that changes."""
        before = {entry.id: entry for entry in self._turns.get(turn, ())}
        ops: list[Op] = [
            {"op": "remove", "id": id} for id in before if id not in {entry.id for entry in entries}
        ]
        last = self._last_before(turn)
        for entry in entries:
            op = change(before.get(entry.id), entry)
            if op is not None:
                ops.append({**op, "after": last} if op["op"] == "set" else op)
            last = entry.id
        self._turns[turn] = list(entries)
        return ops

    def put_before(self, turns: Iterable[tuple[str, Sequence[Entry]]]) -> list[Op]:
        """Turns from before all that is there, or between those that go on; what that changes."""
        ops: list[Op] = []
        known, self._turns = self._turns, {}
        for turn, entries in turns:
            there = known.pop(turn, None)
            if there is not None:
                ops += [{"op": "remove", "id": entry.id} for entry in there]
            ops += self.update(turn, entries if there is None else there)
        self._turns.update(known)
        return ops

    def drop(self, turn: str) -> list[Op]:
        """Forget a turn."""
        return [{"op": "remove", "id": entry.id} for entry in self._turns.pop(turn, ())]

    def clear(self) -> list[Op]:
        """Forget all."""
        return [op for turn in self.turns for op in self.drop(turn)]

    def _last_before(self, turn: str) -> str:
        """The id of the last entry of the turns before this one."""
        last = ""
        for name, entries in self._turns.items():
            if name == turn:
                break
            last = entries[-1].id if entries else last
        return last


def change(old: Entry | None, new: Entry) -> Op | None:
    """What turns the old entry into the new one; None if they are alike."""
    if old == new:
        return None
    if old is None or (old.kind, old.more) != (new.kind, new.more) or not new.html.startswith(old.html):
        return {"op": "set", "entry": new.state()}
    keep = _alike(old.tail, new.tail)
    return {
        "op": "grow",
        "id": new.id,
        "html": new.html[len(old.html) :],
        "keep": _units(new.tail[:keep]),
        "tail": new.tail[keep:],
        "done": new.done,
    }


def applied(states: list[dict[str, Any]], ops: Iterable[Op]) -> list[dict[str, Any]]:
    """The entries' states after the operations, as the page computes them."""
    found = [dict(state) for state in states]
    for op in ops:
        _apply(found, op)
    return found


def _apply(states: list[dict[str, Any]], op: Op) -> None:
    ids = [state["id"] for state in states]
    match op["op"]:
        case "remove":
            del states[ids.index(op["id"])]
        case "grow":
            state = states[ids.index(op["id"])]
            kept = state["tail"].encode("utf-16-le")[: op["keep"] * 2].decode("utf-16-le")
            state |= {"html": state["html"] + op["html"], "tail": kept + op["tail"], "done": op["done"]}
        case "set" if op["entry"]["id"] in ids:
            states[ids.index(op["entry"]["id"])] = op["entry"]
        case "set":
            states.insert(ids.index(op["after"]) + 1 if op["after"] else 0, op["entry"])


def _alike(one: str, other: str) -> int:
    """With how many equal characters two texts begin."""
    if other.startswith(one):
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _units(text: str) -> int:
    """The length of a text as JavaScript counts it."""
    return len(text) + sum(character > "\uffff" for character in text)
