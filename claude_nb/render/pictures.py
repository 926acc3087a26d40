"""Images that Claude's tools returned, shown below its reply; the notebook's own are there already."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from claude_nb.reply import ToolResultBlock, ToolUseBlock
from claude_nb.words import counted

if TYPE_CHECKING:
    from claude_nb.turn import Turn

# So many, and so many bytes of them, go into a cell: a notebook keeps them, and a page has to load them.
_MOST = 10
_LARGEST_IN_ALL = 20_000_000
_KERNEL = "mcp__kernel__"


def show_pictures(turn: Turn) -> None:
    """Display them where the caller displays things."""
    from IPython.display import display

    images = pictures(turn)
    shown = within(images)
    for image in shown:
        kind = "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"
        display({kind: base64.b64encode(image).decode()}, raw=True)
    if len(shown) < len(images):
        words = f"{counted(len(images) - len(shown), 'more image')} of Claude's tools: too many or too large."
        display({"text/markdown": f"*{words}*", "text/plain": words}, raw=True)


def within(images: list[bytes]) -> list[bytes]:
    """As many of the first ones as a cell takes."""
    room, kept = _LARGEST_IN_ALL, []
    for image in images[:_MOST]:
        if len(image) <= room:
            kept.append(image)
            room -= len(image)
    return kept


def pictures(turn: Turn) -> list[bytes]:
    """The images, in the order they came."""
    blocks = turn.blocks
    ours = {
        block.id for block in blocks if isinstance(block, ToolUseBlock) and block.name.startswith(_KERNEL)
    }
    results = [block for block in blocks if isinstance(block, ToolResultBlock)]
    return [image for result in results if result.tool_use_id not in ours for image in result.images]
