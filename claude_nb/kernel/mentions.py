"""`@name` in a prompt: variables of the namespace, told to Claude with the prompt.

A mention begins where a word begins, outside of code in backticks: `@df`, `@Out[3]`, `@data["train"]`. Files,
folders, agents and resources (`@data/x.csv`, `@"a file.png"`, `@agent-reviewer`, `@server:resource`) are
Claude Code's own and stay as they are. A name that is none of these is a mistake, said before anything is
sent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from claude_nb.kernel.context import as_data, variables_of
from claude_nb.masking import mask
from claude_nb.prompt_line import PromptLineError

if TYPE_CHECKING:
    from claude_nb.kernel.drawing import Picture

_KEYS = r"""(?:\[(?:"[^"\n\]]{0,200}"|'[^'\n\]]{0,200}'|-?\d{1,18})\])*+"""
_NAME = rf"(?:[^\W\d]\w*+){_KEYS}"
_MENTION = re.compile(
    rf"""(?<![^\s(\[{{"'\u201c\u2018\u00ab])@(?:
      "(?P<file>[^"\n]{{1,500}})"
    | (?P<name>{_NAME})(?![\w/\\~@]|[-.:][\w/*])
    | (?P<other>[^\s"'`<>()\[\]{{}},;!?@\u201c\u201d\u2018\u2019\u00ab\u00bb]{{1,500}}+)
    )""",
    re.VERBOSE,
)
_LEADING_NAME = re.compile(r"[^\W\d]\w*")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*$", re.MULTILINE)
_TICKS = re.compile(r"`+|\n[ \t]*\n")

_MOST_CANDIDATES = 200
_CLAUDE_CODES_OWN = ("/", "~", "\\", "agent-")


class UnknownMention(PromptLineError):
    """There is nothing of that name. Nothing was sent. `name` is what was mentioned."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Mention:
    """One `@...` in a prompt: what stands behind the `@`, and the place of the whole."""

    target: str
    start: int
    end: int
    quoted: bool = False


@dataclass
class Resolved:
    """What goes with a prompt: blocks of text, and images with what to call them."""

    texts: list[str] = field(default_factory=list)
    images: list[tuple[str, bytes]] = field(default_factory=list)


class Looks(Protocol):
    """The part of `claude_nb.kernel.look` that is needed."""

    def resolve(self, namespace: Mapping[str, Any], path: str) -> Any: ...
    def inspect_value(self, name: str, value: Any) -> str: ...


def find(prompt: str) -> list[Mention]:
    """The mentions in a prompt, in order."""
    if "@" not in prompt:
        return []
    found = []
    for match in _MENTION.finditer(_without_code(prompt)):
        target = match["file"] or match["name"] or match["other"].rstrip(".:)*_")
        if target:
            end = match.end() if match["file"] else match.start() + 1 + len(target)
            found.append(Mention(target, match.start(), end, quoted=match["file"] is not None))
    return found


def resolve_all(
    prompt: str,
    namespace: Mapping[str, Any],
    folder: Path,
    look: Looks,
    draw: Callable[[Any], Picture],
) -> Resolved:
    """What the prompt's mentions of variables stand for. Raises `UnknownMention`."""
    resolved = Resolved()
    for path, target in _variables(prompt, namespace, folder).items():
        try:
            value = look.resolve(namespace, path)
        except KeyError as error:
            raise UnknownMention(_message(target, str(error.args[0])), target) from None
        resolved.texts.append(_told(path, value, look))
        picture = draw(value)
        if picture.png is not None:
            resolved.images.append((f"@{path}: {picture.note}" if picture.note else f"@{path}", picture.png))
        elif picture.note:
            resolved.texts.append(f"@{path}: {picture.note}")
    return resolved


def candidates(namespace: Mapping[str, Any], hidden: Container[str], typed: str) -> list[str]:
    """What may stand behind an `@` that is followed by `typed`: names, and keys of plain dicts."""
    typed = typed.removeprefix("@")
    name, bracket, _ = typed.partition("[")
    if bracket:
        found = [f"{name}[{key}]" for key in _keys(namespace.get(name), typed)]
    elif typed.startswith("_"):
        found = [name for name in list(namespace) if re.fullmatch(r"_+|_\d+", name)]
    else:
        found = sorted(variables_of(namespace, hidden))
        found += ["Out["] if type(namespace.get("Out")) is dict and namespace["Out"] else []
    return [candidate for candidate in found if candidate.startswith(typed)][:_MOST_CANDIDATES]


def _keys(value: Any, typed: str) -> list[str]:
    """The keys of a plain dict as they are written, with the quotes that were typed."""
    if type(value) is not dict:
        return []
    quote = "'" if "['" in typed else '"'
    keys = [key for key in list(value) if type(key) in (str, int)]
    return [f"{quote}{key}{quote}" if type(key) is str else str(key) for key in keys]


def _without_code(prompt: str) -> str:
    """The prompt with code in backticks blotted out, of the same length."""
    if "`" not in prompt and "~~~" not in prompt:
        return prompt
    kept, place = [], 0
    for start, end in _code(prompt):
        kept += [prompt[place:start], "`" * (end - start)]
        place = end
    return "".join([*kept, prompt[place:]])


def _code(prompt: str) -> Iterator[tuple[int, int]]:
    """Where fenced blocks and code spans stand."""
    place = 0
    for start, end in _fenced(prompt):
        yield from _spans(prompt, place, start)
        yield start, end
        place = end
    yield from _spans(prompt, place, len(prompt))


def _fenced(prompt: str) -> Iterator[tuple[int, int]]:
    """Blocks between fences; one that is not closed goes to the end."""
    fence, start = "", 0
    for match in _FENCE.finditer(prompt):
        if not fence:
            if match[1][0] == "`" and "`" in prompt[match.end(1) : match.end()]:
                continue  # a code span of three
            fence, start = match[1], match.start()
        elif match[1].startswith(fence) and not prompt[match.end(1) : match.end()].strip():
            yield start, match.end()
            fence = ""
    if fence:
        yield start, len(prompt)


def _spans(prompt: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Code spans: from a run of backticks to the next of the same length in the same paragraph."""
    runs = [match.span() for match in _TICKS.finditer(prompt, start, end)]
    closers: dict[int, int] = {}
    closer_of: dict[int, int] = {}
    for place in range(len(runs) - 1, -1, -1):
        length = runs[place][1] - runs[place][0]
        if prompt[runs[place][0]] == "\n":
            closers.clear()
            continue
        closer_of[place] = closers.get(length, -1)
        closers[length] = place
    place = 0
    while place < len(runs):
        closer = closer_of.get(place, -1)
        if closer >= 0:
            yield runs[place][0], runs[closer][1]
            place = closer
        place += 1


def _variables(prompt: str, namespace: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Each variable that the prompt mentions, once, with how it is written there."""
    found: dict[str, str] = {}
    for mention in find(prompt):
        path = None if mention.quoted else _variable(mention.target, namespace, folder)
        if path is not None:
            found.setdefault(path, mention.target)
    return found


def _variable(target: str, namespace: Mapping[str, Any], folder: Path) -> str | None:
    """The path into the namespace that is meant, or None for what is Claude Code's own."""
    leading = _LEADING_NAME.match(target)
    name = leading[0] if leading else ""
    rest = target[len(name) :]
    if name in namespace and (not rest or rest[0] == "["):
        return target
    if target.startswith(_CLAUDE_CODES_OWN) or "/" in target or ":" in target or not name:
        return None
    if _exists(folder / target):
        return None
    if name in namespace:  # `@df-based`, `@df.columns`
        return name
    raise UnknownMention(_message(target, _what_is_near(target, name, namespace, folder)), target)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _what_is_near(target: str, name: str, namespace: Mapping[str, Any], folder: Path) -> str:
    names = [known for known in list(namespace) if type(known) is str and known[:1] != "_"]
    try:
        files = [path.name for path in folder.iterdir() if path.name[:1] != "."]
    except OSError:
        files = []
    near = difflib.get_close_matches(target, [*names, *files], 1) or difflib.get_close_matches(name, names, 1)
    said = f"There is no variable or file {target}."
    return f"{said} Did you mean @{near[0]}?" if near else said


def _message(target: str, what: str) -> str:
    end = "" if what.endswith((".", "?")) else "."
    return f"{what}{end} Nothing was sent; to send it as it is, put it in backticks: `@{target}`"


def _told(path: str, value: Any, look: Looks) -> str:
    summary = mask(look.inspect_value(path, value))
    if type(value) is str and mask(assigned := f"{path} = {value[:1_000]!r}") != assigned:
        summary = f"{path}: a text of {len(value):,} characters, masked because it looks like a secret"
    return as_data(f"What @{path} is, which the prompt mentions.", summary)
