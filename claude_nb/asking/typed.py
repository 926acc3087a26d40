"""What a person typed, as plain text: terminal escapes, control and bidirectional characters dropped."""

from __future__ import annotations

import re

_KEYS = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Z]|[ -~])?"
)  # arrows and the like, as a terminal sends them
_BLANK = re.compile(r"[\t\n\r\x0b\x0c\x85\u2028\u2029]+")
_DROPPED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LIMIT = 10_000  # characters; nobody types more into one line


def typed(text: str) -> str:
    """One line without anything that is not text."""
    return _DROPPED.sub("", _BLANK.sub(" ", _KEYS.sub("", text))).strip()[:_LIMIT]
