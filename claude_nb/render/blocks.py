"""Blocks: paragraphs, lists, quotes, tables and code, written anew with a blank line between them.

Each function takes the tokens of one block and gives its text without the prefix of what contains it; lists
and quotes add that to every line. Code is the same at every depth except that inside a container it avoids
what depends on the container's lines (see `escape.fence`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markdown_it.token import Token

from claude_nb.render import tex
from claude_nb.render.directions import is_read_from_the_right
from claude_nb.render.escape import fence
from claude_nb.render.spans import SpanWriter, html_line

Tokens = Sequence[Token]


def write_blocks(tokens: Tokens, *, nested: bool = False) -> list[str]:
    return [text for block in _top_level(tokens) if (text := _block(block, nested)).strip()]


def write_document(tokens: Tokens) -> list[str]:
    """The blocks of a whole text; what is read from the right stands in a `<div>` that says so."""
    found = []
    for block in _top_level(tokens):
        text = _block(block, False)
        if text.strip():
            found.append(f'<div dir="rtl">\n\n{text}\n\n</div>' if is_read_from_the_right(block) else text)
    return found


def _top_level(tokens: Tokens) -> Iterator[Tokens]:
    """`tokens` cut into blocks, each from its opening token to its closing one."""
    start = depth = 0
    for index, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            yield tokens[start : index + 1]
            start = index + 1


def _block(tokens: Tokens, nested: bool) -> str:
    first = tokens[0]
    match first.type:
        case "paragraph_open":
            return _inline(tokens)
        case "heading_open":
            return _heading(tokens)
        case "fence":
            return fence(first.content, first.info, nested=nested)
        case "code_block":
            return fence(first.content, nested=nested)
        case "math_block":
            return tex.display(first.content, one_line=nested)
        case "blockquote_open":
            return _quote(tokens)
        case "bullet_list_open" | "ordered_list_open":
            return _list(tokens)
        case "table_open":
            return _table(tokens)
        case "details_open":
            return _details(tokens, nested)
        case "hr":
            return "* * *" if nested else "---"
    return _inline(tokens)


def _inline(tokens: Tokens, *, table: bool = False, task: bool = False) -> str:
    inlines = [token.children or [] for token in tokens if token.type == "inline"]
    return "\n".join(SpanWriter(table=table, task=task).write(children) for children in inlines)


def _heading(tokens: Tokens) -> str:
    text = " ".join(_inline(tokens).split())
    if text.endswith("#"):  # would be read as the closing row of a heading
        text = text[:-1] + "&#35;"
    return f"{'#' * int(tokens[0].tag[1:])} {text}"


def _details(tokens: Tokens, nested: bool) -> str:
    """Its summary is a line of HTML, in which there is no Markdown; what unfolds is Markdown again."""
    blocks = list(_top_level(tokens[1:-1]))
    summary = ""
    if blocks and blocks[0][0].type == "summary_open":
        summary = f"<summary>{html_line(blocks.pop(0)[1].children or [])}</summary>"
    opening = "<details open>" if "open" in tokens[0].attrs else "<details>"
    body = [text for block in blocks if (text := _block(block, nested)).strip()]
    return "\n\n".join([opening + summary, *body, "</details>"])


def _quote(tokens: Tokens) -> str:
    inner = "\n\n".join(write_blocks(tokens[1:-1], nested=True))
    return "\n".join(f"> {line}" if line.strip() else ">" for line in inner.split("\n"))


def _list(tokens: Tokens) -> str:
    """Items by the original marker and number, so that neighbouring lists stay apart."""
    ordered = tokens[0].type == "ordered_list_open"
    number = int(tokens[0].attrs.get("start", 1)) if ordered else 0
    items = list(_top_level(tokens[1:-1]))
    loose = any(_is_loose(item) for item in items)
    written = []
    for offset, item in enumerate(items):
        marker = f"{min(number + offset, 999_999_999)}{item[0].markup}" if ordered else item[0].markup
        written.append(_item(item[1:-1], marker, loose))
    return ("\n\n" if loose else "\n").join(written)


def _is_loose(item: Tokens) -> bool:
    """Blank lines between its blocks, or blocks that want them."""
    level = item[0].level + 1
    return any(
        token.level == level
        and (
            (token.type == "paragraph_open" and not token.hidden)
            or token.type
            in ("fence", "code_block", "math_block", "table_open", "blockquote_open", "details_open")
        )
        for token in item
    )


def _item(tokens: Tokens, marker: str, loose: bool) -> str:
    blocks = []
    for index, block in enumerate(_top_level(tokens)):
        task = index == 0 and block[0].type == "paragraph_open"
        text = _inline(block, task=True) if task else _block(block, nested=True)
        if text.strip():
            blocks.append(text)
    lines = ("\n\n" if loose else "\n").join(blocks).split("\n")
    indent = " " * (len(marker) + 1)
    rest = [indent + line if line.strip() else "" for line in lines[1:]]
    return "\n".join([f"{marker} {lines[0]}" if lines[0].strip() else marker, *rest])


def _table(tokens: Tokens) -> str:
    rows: list[list[str]] = []
    marks: list[str] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(_inline(tokens[index + 1 : index + 2], table=True))
            if token.type == "th_open":
                marks.append(_mark(str(token.attrs.get("style", ""))))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"| {' | '.join(marks)} |", *lines[1:]])


def _mark(style: str) -> str:
    return {"text-align:left": ":--", "text-align:right": "--:", "text-align:center": ":-:"}.get(style, "---")
