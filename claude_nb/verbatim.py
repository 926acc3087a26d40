"""Prompts reach the magic exactly as they were typed.

IPython rewrites a cell before it runs, and would read a prompt as its own syntax: `%claude what is
this?` becomes a help request for `this`, a trailing backslash swallows the next line, and `>>> ` at
the start of a line of a `%%claude` body is dropped as a pasted prompt. Two hooks prevent that by
turning each prompt into a Python string literal before IPython's own rules can look at it:

- `PromptLine`, a token transformer, replaces `%claude ...` up to the end of its line by
  `get_ipython().run_line_magic('claude', '...')`. It takes the forms IPython knows for a magic: at
  the start of a line at any indentation, after `x = `, and as the statement of another line magic
  (`%time %claude ...`). It goes by tokens, so text inside a Python string is left alone, and it goes
  first, because quotes and brackets in a prompt derail the tokenizer for every line that follows.
- `keep_cell_prompt`, a clean-up transformer, does the same for a whole `%%claude` cell, also where it
  stands below `%%time` or `%%capture`.

`%claude?` and `%%claude?` remain IPython's help. The magic has to be marked with IPython's
`no_var_expand`, or `$name` and `{name}` would be replaced when it is called.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.core.inputtransformer2 import TokenTransformBase, make_tokens_by_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_ENDS_NAME = r"(?=[ \t\r\n]|$)"

# A line magic that runs a statement, with its options: `%timeit -n 1 -r1 `.
_OUTER_MAGIC = r"%[^\W\d][\w.]*(?:[ \t]+-[^\s%]+(?:[ \t]+[\w./]+)?)*[ \t]+"
_LINE_CALL = re.compile(rf"(?P<outer>(?:(?!%claude[ \t]){_OUTER_MAGIC})*)%claude{_ENDS_NAME}")

_CELL_HEAD = re.compile(r"(?:[ \t\r]*\n)*[ \t]*%%(?P<name>[^\W\d]\w*)" + _ENDS_NAME)

# Cell magics whose body is IPython code. They hand it to IPython once more, but some have it
# tokenized as plain Python as well, and then fail on `%claude it's`.
_RUN_THEIR_BODY = frozenset({"capture", "prun", "time", "timeit"})


def install(shell: InteractiveShell) -> None:
    """Keep the prompts of `%claude` and `%%claude` verbatim in `shell`. Twice is as good as once."""
    manager = shell.input_transformer_manager
    if PromptLine not in manager.token_transformers:
        manager.token_transformers.append(PromptLine)
    if keep_cell_prompt not in manager.cleanup_transforms:
        # First, since the other clean-ups strip indentation and pasted prompts from the body.
        manager.cleanup_transforms.insert(0, keep_cell_prompt)


def uninstall(shell: InteractiveShell) -> None:
    """Leave the transformers of `shell` as `install` found them."""
    manager = shell.input_transformer_manager
    if PromptLine in manager.token_transformers:
        manager.token_transformers.remove(PromptLine)
    if keep_cell_prompt in manager.cleanup_transforms:
        manager.cleanup_transforms.remove(keep_cell_prompt)


class PromptLine(TokenTransformBase):
    """One `%claude ...`, replaced by a call with the prompt as a string literal.

    IPython asks every transformer for its first match in the cell, applies the earliest and
    tokenizes anew. A match "starts" at the first token of its logical line, so that no other
    transformer of that line (help for a trailing `?` starts there too) comes before it.
    """

    priority = 1

    def __init__(self, start: tuple[int, int], call: tuple[int, int], nested: bool) -> None:
        super().__init__(start)
        self.row, self.column = call
        self.nested = nested

    @classmethod
    def find(cls, tokens_by_line: Sequence[Sequence[tokenize.TokenInfo]]) -> PromptLine | None:
        """The first `%claude` in the cell that is a call, or None."""
        for line in tokens_by_line:
            tokens = [token for token in line if token.type not in {tokenize.INDENT, tokenize.DEDENT}]
            for percent in _places_of_a_magic(tokens):
                match = _LINE_CALL.match(percent.line, percent.start[1])
                if match:
                    call = (percent.start[0] - 1, match.end("outer"))
                    in_a_magic = tokens[0].string == "%" and percent is not tokens[0]
                    return cls(tokens[0].start, call, nested=in_a_magic or bool(match["outer"]))
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """The cell's lines with this one call written out."""
        after = self.row + 1
        # IPython splits also where Python does not end a line: at a form feed, at U+2028, ...
        while not lines[after - 1].endswith(("\n", "\r")) and after < len(lines):
            after += 1
        line = "".join(lines[self.row : after])
        before, text = line[: self.column], line[self.column + len("%claude") :]
        prompt = text.rstrip("\r\n")[1:]  # one space or tab separates the magic from its prompt
        literal = _literal_without_syntax(prompt) if self.nested else repr(prompt)
        call = f"{before}get_ipython().run_line_magic('claude',{literal})\n"
        return [*lines[: self.row], call, *lines[after:]]


def _places_of_a_magic(tokens: Sequence[tokenize.TokenInfo]) -> list[tokenize.TokenInfo]:
    """The `%` tokens of a logical line where IPython accepts a line magic: at its start, after `x =`."""
    assigned = _index_after_assignment(tokens)
    return [token for token in (*tokens[:1], *tokens[assigned : assigned + 1]) if token.string == "%"]


def _index_after_assignment(tokens: Sequence[tokenize.TokenInfo]) -> int:
    """Behind the first `=` outside brackets; the number of tokens where there is none."""
    depth = 0
    for index, token in enumerate(tokens):
        if token.string == "=" and depth == 0:
            return index + 1
        if token.type == tokenize.OP:
            depth = max(0, depth + (token.string in "([{") - (token.string in ")]}"))
    return len(tokens)


def _literal_without_syntax(text: str) -> str:
    """A string literal with neither spaces, quotes nor braces inside.

    An outer magic splits its line like a shell and may expand variables in it (`%time` does the
    first since IPython 9); such a literal survives both.
    """
    return "'" + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text) + "'"


def keep_cell_prompt(lines: list[str]) -> list[str]:
    """Called by IPython with a cell's raw lines: a `%%claude` cell becomes a call, any other stays.

    Below `%%time` and the like, prompts in the body become calls at once.
    """
    text = "".join(lines)
    match = _CELL_HEAD.match(text)
    if match and match["name"] == "claude":
        return [_cell_call(text[match.end() :])]
    if match and match["name"] in _RUN_THEIR_BODY:
        head, newline, body = text[match.end() :].partition("\n")
        code = _with_calls(body)
        if code != body:
            return (text[: match.end()] + head + newline + code).splitlines(keepends=True)
    return lines


def _cell_call(text: str) -> str:
    """The call for what follows the characters `%%claude`."""
    head, _, body = text.partition("\n")
    first_line = head.removesuffix("\r")[1:]
    if not body:  # IPython refuses a cell magic without a body; `%%claude PROMPT` alone is a prompt
        return f"get_ipython().run_line_magic('claude', {first_line!r})\n"
    return f"get_ipython().run_cell_magic('claude', {first_line!r}, {body!r})\n"


def _with_calls(code: str) -> str:
    """IPython code with its prompts written out as calls, and all else as it was."""
    lines = keep_cell_prompt(code.splitlines(keepends=True))
    while call := PromptLine.find(make_tokens_by_line(lines)):
        lines = call.transform(lines)
    return "".join(lines)


# IPython skips such transformers when it asks whether a cell is complete; without this, Enter after
# `%%claude` in a terminal would run the cell before its body can be typed.
keep_cell_prompt.has_side_effects = True  # type: ignore[attr-defined]
