"""Values that punish whoever touches them: any code of theirs that runs leaves a trace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Traces:
    """A file that hostile code deletes, and a list of what it did."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "precious"
        self.file.write_text("data")
        self.done: list[str] = []

    def left(self) -> list[str]:
        """What has run so far; nothing, if all was left alone."""
        return [*self.done, *([] if self.file.exists() else ["deleted"])]


def hostile_values(traces: Traces) -> dict[str, Any]:
    """Objects by name, each with another trap; all of them report to `traces`."""

    def trap(what: str) -> Any:
        def spring(*_: Any, **__: Any) -> Any:
            traces.done.append(what)
            traces.file.unlink(missing_ok=True)
            time.sleep(1)
            raise RuntimeError(what)

        return spring

    special = ("repr", "str", "len", "iter", "getattr", "bool", "hash", "eq", "format", "sizeof", "dir")
    more = ("contains", "getitem", "instancecheck", "fspath", "index", "array", "next", "reversed")
    springs = {f"__{name}__": trap(name) for name in (*special, *more)}

    class Liar(type):
        __name__ = property(trap("metaclass name"))  # type: ignore[assignment]
        __module__ = property(trap("metaclass module"))  # type: ignore[assignment]
        __mro__ = property(trap("metaclass mro"))  # type: ignore[assignment]
        __eq__ = trap("metaclass eq")
        __hash__ = trap("metaclass hash")
        __instancecheck__ = trap("metaclass instancecheck")
        __subclasscheck__ = trap("metaclass subclasscheck")
        __getattribute__ = trap("metaclass getattribute")

    def hostile(name: str, *bases: type, meta: type = type, **own: Any) -> Any:
        return meta(name, bases, {**springs, **own})

    everything = hostile("Everything", __getattribute__=trap("getattribute"))
    properties = hostile(
        "Properties",
        __class__=property(trap("class")),
        shape=property(trap("shape")),
        columns=property(trap("columns")),
        dtype=property(trap("dtype")),
        _name_=property(trap("_name_")),
    )
    dictless = hostile("Dictless", __dict__=property(trap("dict")))
    lying = hostile("Lying", meta=Liar)
    traps = {"items": trap("items"), "keys": trap("keys"), "append": trap("append"), "copy": trap("copy")}
    mapping, sequence = hostile("Mapping", dict, **traps), hostile("Sequence", list, **traps)
    unhashing = {k: v for k, v in springs.items() if k not in ("__hash__", "__eq__")}
    group = type("Group", (set,), unhashing)
    number, text = hostile("Number", int), hostile("Text", str)
    return {
        "everything": everything(),
        "properties": properties(),
        "dictless": dictless(),
        "lying": type.__call__(lying),
        "lying_class": lying,
        "mapping": dict.__new__(mapping),
        "filled": filled(mapping, {"inside": everything()}),
        "sequence": extended(sequence, [everything(), properties()]),
        "group": group([1, 2]),
        "number": int.__new__(number, 5),
        "text": str.__new__(text, "abc"),
        "inside": [everything(), {"key": properties(), "lying": type.__call__(lying)}, (lying,)],
    }


def filled(cls: Any, entries: dict[str, Any]) -> Any:
    """A dict of a subclass, filled without the subclass' methods."""
    made = dict.__new__(cls)
    dict.update(made, entries)
    return made


def extended(cls: Any, entries: list[Any]) -> Any:
    """A list of a subclass, filled without the subclass' methods."""
    made = list.__new__(cls)
    list.extend(made, entries)
    return made
