"""Keys and tokens that tools have given, where Claude's own words repeat them: a notebook keeps those, too.

Nothing else of what Claude writes is changed: not a password in an example, nor a word that is a password
somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from claude_nb.reply import Block, ToolUseBlock

# Characters. What is shorter, or a word, stands for something else as often as not.
_LEAST, _MOST = 6, 512
# Of one tool's texts so much is looked at.
_LOOKED_AT = 200_000


class Quoted:
    """The secrets of one turn's tools; each tool is looked at again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[ToolUseBlock, tuple[object, frozenset[str]]] = {}

    def masked(self, text: str, blocks: Sequence[Block], *, partial: bool = False) -> str:
        """The text with them masked. What may be the beginning of one is held back from a `partial` text."""
        secrets = frozenset().union(*(self._of(block) for block in _tools(blocks)))
        return without(text, secrets, partial=partial)

    def _of(self, tool: ToolUseBlock) -> frozenset[str]:
        stamp = tool.done, tool.result is None
        if tool not in self._known or self._known[tool][0] != stamp:
            self._known[tool] = stamp, secrets_of([*_texts(tool.input), tool.result or ""])
        return self._known[tool][1]


def secrets_of(texts: Iterable[str]) -> frozenset[str]:
    """What is masked in these texts and is too long and too odd to be a word."""
    from claude_nb.masking import secrets_in  # many expressions to compile

    found = {secret for text in texts if text for secret in secrets_in(text[:_LOOKED_AT])}
    return frozenset(
        secret for secret in found if _LEAST <= len(secret) <= _MOST and not secret.replace(" ", "").isalpha()
    )


def without(text: str, secrets: frozenset[str], *, partial: bool = False) -> str:
    """The text with these secrets masked."""
    if not secrets:
        return text
    from claude_nb.masking import masked

    if partial:
        text = text[: len(text) - _begun(text, secrets)]
    pattern = "|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True))
    return re.sub(pattern, lambda found: masked(found[0]), text)


def _begun(text: str, secrets: frozenset[str]) -> int:
    """How much of the text's end may be the beginning of a secret."""
    longest = min(max(map(len, secrets)) - 1, len(text))
    ends = (length for length in range(longest, 0, -1) if text[-length:].isprintable())
    return next((n for n in ends if any(secret.startswith(text[-n:]) for secret in secrets)), 0)


def _tools(blocks: Sequence[Block]) -> Iterator[ToolUseBlock]:
    for block in blocks:
        if isinstance(block, ToolUseBlock):
            yield block
            yield from _tools(block.inner)


def _texts(value: Any) -> Iterator[str]:
    """The texts in a tool's input, each in front of its name, which may say what it is."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from (f"{name}: {item}",) if isinstance(item, str) else _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
