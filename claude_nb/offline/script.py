"""The script format: rules that say what the user says and which blocks answer it. Pure.

A script is YAML: `rules`, a list, and perhaps `preface`, a text put before the first reply of a
conversation. The first rule whose conditions all hold answers.

    conditions  says (a part, any case; or a list of them), matches (a regular expression, any case),
                exactly (the whole prompt), always: true, recall (an expression found in what the user
                said earlier), context (in blocks before the prompt), model, system, first: true/false;
                notice (in a turn that Claude Code starts itself; no other rule sees it)
    reply       the list of blocks
    then        a list of further replies, one after each round of tool results; instead of a list
                of blocks one may be {ok: [...], refused: [...]}

    text, thinking   chunk (characters, 0 for all in one), rate (chunks a second), repeat, raw,
                     open: true (a failure that follows breaks into it)
    tool             input
    error            an HTTP status, `credit` or `too_long`; times, message, retry_after
    drop: true       closes the connection; times stall   seconds, or `forever`
    delay            seconds                      stop    a stop_reason; usage (numbers to report)

An `error` or `drop` with `times` ends the reply so often; afterwards what stands behind it is the reply, and
what stands before it, which the broken attempts began with, is left out.

Texts and tool inputs may hold {prompt}, {result} (of the tools), {model}, {context}, {recall}, {n}
(counts a `repeat`) and the groups of the expressions: {1} or {name}. Other braces stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from claude_nb.errors import ClaudeNbError
from claude_nb.offline.conversation import Conversation


class ScriptError(ClaudeNbError, ValueError):
    """The script cannot be played; the message names its file and line."""

    def __init__(self, source: str, line: int, message: str) -> None:
        super().__init__(f"{source}, line {line}: {message}")
        self.source = source
        self.line = line


@dataclass(frozen=True)
class Text:
    text: str
    chunk: int | None = None  # characters; None: a repetition each, or some words
    rate: float | None = None  # chunks a second; None: as fast as the reader reads
    repeat: int = 1
    raw: bool = False
    thinking: bool = False
    open: bool = False  # the block is not closed: what follows breaks into it


@dataclass(frozen=True)
class Tool:
    name: str
    input: dict[str, Any] = field(default_factory=dict)
    raw: bool = False


@dataclass(frozen=True)
class Error:
    status: int
    type: str
    message: str
    times: int | None = None  # None: always
    retry_after: float | None = None


@dataclass(frozen=True)
class Drop:
    """Close the connection here."""

    times: int | None = None  # None: always


@dataclass(frozen=True)
class Wait:
    """Send nothing for a while; `mute` (a stall) has already begun to answer. None: until the client goes."""

    seconds: float | None
    mute: bool = False


@dataclass(frozen=True)
class Stop:
    reason: str = "end_turn"
    usage: dict[str, int] = field(default_factory=dict)


Block = Text | Tool | Error | Drop | Wait | Stop


@dataclass(frozen=True)
class Step:
    """One reply; `refused` replaces it after a tool result that is an error."""

    ok: tuple[Block, ...]
    refused: tuple[Block, ...] | None = None


@dataclass(frozen=True)
class Rule:
    name: str
    steps: tuple[Step, ...]
    says: tuple[str, ...] = ()
    exactly: str | None = None
    matches: re.Pattern[str] | None = None
    recall: re.Pattern[str] | None = None
    context: re.Pattern[str] | None = None
    model: re.Pattern[str] | None = None
    system: re.Pattern[str] | None = None
    notice: re.Pattern[str] | None = None
    first: bool | None = None
    preface: str = ""

    @property
    def about_model_only(self) -> bool:
        others = (self.exactly, self.matches, self.recall, self.context, self.system, self.notice, self.first)
        return bool(self.model) and not self.says and all(other is None for other in others)


@dataclass(frozen=True)
class Answer:
    """What to play: the blocks of one step, and the values for the braces in them."""

    rule: str
    blocks: tuple[Block, ...]
    values: dict[str, str] = field(default_factory=dict)
    step: int = 0


ENDED = (Text("(The offline script has nothing more for this turn.)", raw=True),)
NOTHING = (Text("I am an offline script, not a model, and no rule of mine answers this prompt.", raw=True),)
NOTED = (Text("Claude Code reported that something has ended in the background.", raw=True),)
BRACES = re.compile(r"\{(\w+)\}")


def fill(text: str, values: dict[str, str]) -> str:
    """The text with its known braces replaced; LaTeX and code keep theirs."""
    return BRACES.sub(lambda match: values.get(match[1], match[0]), text)


def fill_all(value: Any, values: dict[str, str]) -> Any:
    """`fill` in every string of a tool's input."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, dict):
        return {key: fill_all(inner, values) for key, inner in value.items()}
    return [fill_all(inner, values) for inner in value] if isinstance(value, list) else value


def groups(match: re.Match[str] | None) -> dict[str, str]:
    if match is None:
        return {}
    numbered = {str(number): text or "" for number, text in enumerate(match.groups(), 1)}
    return numbered | {name: text or "" for name, text in match.groupdict().items()}


def match(rule: Rule, said: Conversation) -> dict[str, str] | None:
    """The values for the rule's braces where all its conditions hold, else None."""
    if not (holds(rule, said) and found(rule.model, said.model) and found(rule.system, said.system)):
        return None
    if not found(rule.context, said.context):
        return None
    heard = rule.matches.search(said.prompt) if rule.matches else None
    if rule.matches and not heard:
        return None
    recalled = last_match(rule.recall, said.earlier) if rule.recall else None
    if rule.recall and not recalled:
        return None
    values = {"prompt": said.prompt, "result": said.result, "model": said.model, "context": said.context}
    if recalled:
        values |= groups(recalled) | {"recall": recalled[1] if recalled.re.groups else recalled[0]}
    return values | groups(heard)


def holds(rule: Rule, said: Conversation) -> bool:
    """The conditions that capture nothing."""
    if bool(said.notice) != (rule.notice is not None) or not found(rule.notice, said.notice):
        return False
    if rule.exactly is not None and said.prompt != rule.exactly:
        return False
    if rule.first is not None and rule.first != said.first:
        return False
    return not rule.says or any(part.lower() in said.prompt.lower() for part in rule.says)


def found(pattern: re.Pattern[str] | None, text: str) -> bool:
    return pattern is None or pattern.search(text) is not None


def last_match(pattern: re.Pattern[str], texts: Sequence[str]) -> re.Match[str] | None:
    return next((hit for text in reversed(texts) if (hit := pattern.search(text))), None)


def answer(rules: Sequence[Rule], said: Conversation) -> Answer:
    """What the first fitting rule says at this step of the turn; never nothing."""
    for rule in rules:
        values = match(rule, said)
        if values is None:
            continue
        step = rule.steps[said.step] if said.step < len(rule.steps) else Step(ENDED)
        chosen = step.refused if said.refused and step.refused is not None else step.ok
        return Answer(rule.name, with_preface(chosen, rule, said), values, said.step)
    return Answer("nothing", NOTED if said.notice else NOTHING, {}, said.step)


def with_preface(chosen: tuple[Block, ...], rule: Rule, said: Conversation) -> tuple[Block, ...]:
    """The blocks with the script's preface before the first text, in a conversation's first reply."""
    if not (rule.preface and said.first and said.step == 0):
        return chosen
    for index, block in enumerate(chosen):
        if isinstance(block, Text) and not block.thinking and block.repeat == 1:
            joined = replace(block, text=f"{rule.preface}\n\n{block.text}")
            return (*chosen[:index], joined, *chosen[index + 1 :])
        if isinstance(block, Tool) or (isinstance(block, Text) and not block.thinking):
            return (*chosen[:index], Text(f"{rule.preface}\n\n", raw=True), *chosen[index:])
    return chosen


def load(script: str | Path | Sequence[str | Path] | None, builtin: bool = True) -> list[Rule]:
    """The rules of the scripts, those of later ones first, then the built-in ones."""
    from claude_nb.offline.parse import parse_file, parse_text

    listed = [] if script is None else [script] if isinstance(script, str | Path) else list(script)
    rules: list[Rule] = []
    for one in reversed(listed):
        text = isinstance(one, str) and "\n" in one
        rules += parse_text(str(one)) if text else parse_file(Path(one))
    return rules + (parse_file(Path(__file__).with_name("builtin.yaml")) if builtin else [])
