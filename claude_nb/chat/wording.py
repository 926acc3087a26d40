"""Our own sentences as they are said in a chat: they are written for cells."""

from __future__ import annotations

import re

# They name commands as they are written in a cell.
_AS_IN_A_CELL = re.compile(r"%%?claude (?=[/.])")
_OTHERWISE = {"`%claude -n`": "`/clear`", "run the cell again": "send the prompt again"}


def as_said_in_a_chat(text: str) -> str:
    """The sentence, about commands that are typed and prompts that are sent."""
    for in_a_cell, here in _OTHERWISE.items():
        text = text.replace(in_a_cell, here)
    return _AS_IN_A_CELL.sub("", text)
