"""Show what a command answered: a table in a notebook, aligned text in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_nb.answers import Answer, Exchanges, Table

_QUOTED = re.compile("&#96;(.+?)&#96;")


def show_answer(shell: Any, answer: Answer) -> None:
    """A line of text, and what is verbatim, is printed; a table or Markdown is displayed."""
    if answer is None:
        return
    from claude_nb.answers import Verbatim

    if isinstance(answer, str) and ("\n" not in answer or isinstance(answer, Verbatim)):
        print(_visible(answer))
    elif getattr(shell, "kernel", None) is None:
        _print(answer)
    else:
        _display(shell, answer)


def _print(answer: Table | Exchanges | str) -> None:
    from claude_nb.answers import Exchanges
    from claude_nb.render.exchanges import exchanges_text

    if isinstance(answer, Exchanges):
        print(exchanges_text(answer))
    else:
        print(_visible(answer) if isinstance(answer, str) else as_text(answer))


def _display(shell: Any, answer: Table | Exchanges | str) -> None:
    from IPython.display import display

    from claude_nb.answers import Exchanges
    from claude_nb.render.exchanges import exchanges_markdown, exchanges_text
    from claude_nb.render.harmless import harmless

    if isinstance(answer, Exchanges):
        display(_bundle(shell, exchanges_markdown(answer), exchanges_text(answer)), raw=True)
    elif isinstance(answer, str):
        display(_bundle(shell, harmless(answer), _visible(answer)), raw=True)
    else:
        display({"text/markdown": as_markdown(answer), "text/plain": as_text(answer)}, raw=True)


def _bundle(shell: Any, markdown: str, text: str) -> dict[str, str]:
    from claude_nb.kernel.presence import wants_text

    return {"text/markdown": markdown, **({"text/plain": text} if wants_text(shell) else {})}


def as_markdown(table: Table) -> str:
    """A table that every front end renders; names and paths are made harmless."""
    lines = [_row(table.header), _row(["---"] * len(table.header), escape=False)]
    lines += [_row(row) for row in table.rows]
    return "\n".join([*lines, *(f"\n{_note(note)}" for note in table.notes)])


def _note(text: str) -> str:
    """Our own sentences quote commands as Markdown does; what is between the backticks stays escaped."""
    return _QUOTED.sub(r"<code>\1</code>", _escaped(text))


def as_text(table: Table) -> str:
    """The table in columns."""
    rows = [[_visible(cell) for cell in row] for row in [table.header, *table.rows]]
    if not any(table.header):
        rows = rows[1:]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), *table.notes])


def _row(cells: Sequence[str], *, escape: bool = True) -> str:
    shown = [_escaped(cell) for cell in cells] if escape else cells
    return "| " + " | ".join(shown) + " |"


def _escaped(text: str) -> str:
    """As text in Markdown and in HTML, in one line."""
    from claude_nb.render.escape import entities

    return entities(_visible(text)).replace("\n", " ")


def _visible(text: str) -> str:
    from claude_nb.render.harmless import visible

    return visible(text)
