"""What an output says to its reader: the best text in a bundle of mime types."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

# What IPython's rich objects, and any object by default, say of themselves as text.
_SAYS_NOTHING = re.compile(
    r"\s*+(?:<IPython\.core\.display\.\w+ object>|<[\w.<>]+?(?: object)? at 0x[0-9a-fA-F]+>)?\s*+"
)

_LONGEST_JSON = 20_000


def best_text(data: Mapping[str, Any]) -> str:
    """The plain text, unless that says nothing and another type says more; at the least a type's name."""
    plain = data.get("text/plain")
    plain = plain if isinstance(plain, str) else ""
    if not _SAYS_NOTHING.fullmatch(plain):
        return plain
    for kind, read in _READERS.items():
        text = read(data[kind]) if kind in data else ""
        if text.strip():
            return text
    others = [kind for kind in data if kind != "text/plain"]
    name = next((kind for kind in others if not kind.startswith("text/")), *others[:1] or [""])
    return f"({name})" if name else plain


def _written(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _of_html(value: Any) -> str:
    from claude_nb.kernel.html_text import text_of_html  # a parser that most cells do not need

    return text_of_html(_written(value))


def _as_json(value: Any) -> str:
    """Written out as far as it is worth reading."""
    parts, size = [], 0
    for part in islice(json.JSONEncoder(default=str).iterencode(value), _LONGEST_JSON):
        parts.append(part)
        size += len(part)
        if size > _LONGEST_JSON:
            return "".join([*parts, " …"])
    return "".join(parts)


# In the order in which they say most.
_READERS: dict[str, Callable[[Any], str]] = {
    "text/markdown": _written,
    "text/latex": _written,
    "text/html": _of_html,
    "application/json": _as_json,
}
