"""YAML text to rules, each mistake named with its file and line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from claude_nb.offline.script import Block, Drop, Error, Rule, ScriptError, Step, Stop, Text, Tool, Wait

PATTERNS = ("matches", "recall", "context", "model", "system", "notice")
CONDITIONS = (*PATTERNS, "says", "exactly", "always", "first")
RULE_KEYS = {*CONDITIONS, "name", "preface", "reply", "then"}
BLOCK_KEYS = {
    "text": {"chunk", "rate", "repeat", "raw", "open"},
    "thinking": {"chunk", "rate", "repeat", "raw", "open"},
    "tool": {"input", "raw"},
    "error": {"times", "message", "retry_after"},
    "drop": {"times"},
    "stall": set[str](),
    "delay": set[str](),
    "stop": {"usage"},
}
KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "a mapping"}
ERRORS = {
    400: ("invalid_request_error", "the offline script refused the request"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: {model}"),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    429: ("rate_limit_error", "This request would exceed your rate limit. Please try again later."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    529: ("overloaded_error", "Overloaded"),
}
NAMED_ERRORS = {
    "credit": (
        400,
        "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    "too_long": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
}


TIMESTAMP, BOOL = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"
# A text may be `yes` or a date: of YAML 1.1's kinds only numbers, true, false and null are kept.
FEW_KINDS = {
    first: [(tag, form) for tag, form in forms if tag != TIMESTAMP and (tag != BOOL or first in "tTfF")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Located(dict[str, Any]):
    """A mapping of the file, with the line it starts on."""

    line = 1


def parse_file(path: Path) -> list[Rule]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(str(path), 1, f"cannot be read: {getattr(error, 'strerror', error)}") from error
    return parse_text(text, str(path))


def parse_text(text: str, source: str = "<script>") -> list[Rule]:
    """The rules of one script. Raises `ScriptError`."""
    return Parser(source).rules(text)


class Parser:
    """One script's mistakes need its name."""

    def __init__(self, source: str) -> None:
        self.source = source

    def error(self, where: Any, message: str) -> ScriptError:
        return ScriptError(self.source, getattr(where, "line", 1), message)

    def compose(self, text: str) -> Any:
        """The YAML with the lines of its mappings."""
        loader = yaml.SafeLoader(text)
        loader.yaml_implicit_resolvers = FEW_KINDS
        try:
            node = loader.get_single_node()
            return None if node is None else self.build(loader, node)
        except ScriptError:
            raise
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            what = getattr(error, "problem", None) or "is not YAML"
            raise ScriptError(self.source, mark.line + 1 if mark else 1, what) from error
        finally:
            loader.dispose()

    def build(self, loader: Any, node: Any) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.build(loader, inner) for inner in node.value]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node)
        mapping = Located()
        mapping.line = node.start_mark.line + 1
        for key_node, value_node in node.value:
            key = str(self.build(loader, key_node))
            if key in mapping:
                raise ScriptError(self.source, key_node.start_mark.line + 1, f"{key!r} is given twice")
            mapping[key] = self.build(loader, value_node)
        return mapping

    def rules(self, text: str) -> list[Rule]:
        top = self.compose(text)
        if not isinstance(top, Located):
            raise self.error(top, "a script is a mapping with `rules`, a list")
        self.only(top, {"rules", "preface"}, "a script")
        listed = top.get("rules")
        if not isinstance(listed, list) or not listed:
            raise self.error(top, "`rules` must be a list with at least one rule")
        preface = self.value(top, "preface", str, "")
        return [self.rule(one, number, preface, top) for number, one in enumerate(listed, 1)]

    def rule(self, one: Any, number: int, preface: str, top: Located) -> Rule:
        if not isinstance(one, Located):
            raise self.error(top, f"rule {number} must be a mapping")
        name = str(one.get("name", f"rule {number}"))
        self.only(one, RULE_KEYS, name)
        if not any(key in one for key in CONDITIONS):
            raise self.error(one, f"{name}: needs a condition, one of {', '.join(sorted(CONDITIONS))}")
        if "always" in one and one["always"] is not True:
            raise self.error(one, f"{name}: `always` can only be true")
        patterns = {key: self.pattern(one, key, name) for key in PATTERNS}
        return Rule(
            name=name,
            steps=self.steps(one, name),
            says=self.says(one, name),
            exactly=self.value(one, "exactly", str, None),
            first=self.value(one, "first", bool, None),
            preface=preface.strip() if self.value(one, "preface", bool, True) else "",
            **patterns,
        )

    def says(self, one: Located, name: str) -> tuple[str, ...]:
        said = one.get("says", [])
        parts = said if isinstance(said, list) else [said]
        if not all(isinstance(part, str) and part for part in parts):
            raise self.error(one, f"{name}: `says` must be a text or a list of texts")
        return tuple(parts)

    def pattern(self, one: Located, key: str, name: str) -> re.Pattern[str] | None:
        if key not in one:
            return None
        try:
            return re.compile(self.value(one, key, str, ""), re.IGNORECASE)
        except re.error as error:
            raise self.error(one, f"{name}: `{key}` is not a regular expression: {error}") from error

    def steps(self, one: Located, name: str) -> tuple[Step, ...]:
        if "reply" not in one:
            raise self.error(one, f"{name}: needs a `reply`")
        later = self.value(one, "then", list, [])
        return tuple(self.step(part, one, name) for part in [one["reply"], *later])

    def step(self, part: Any, one: Located, name: str) -> Step:
        if not isinstance(part, Located) or not part.keys() & {"ok", "refused"}:
            return Step(self.blocks(part, one, name))
        self.only(part, {"ok", "refused"}, name)
        if "ok" not in part:
            raise self.error(part, f"{name}: a step with `refused` needs `ok` too")
        refused = self.blocks(part["refused"], part, name) if "refused" in part else None
        return Step(self.blocks(part["ok"], part, name), refused)

    def blocks(self, listed: Any, where: Located, name: str) -> tuple[Block, ...]:
        if isinstance(listed, str):
            return (Text(listed),)
        if not isinstance(listed, list) or not listed:
            raise self.error(where, f"{name}: a reply must be a text or a list of blocks")
        return tuple(Text(b) if isinstance(b, str) else self.block(b, where, name) for b in listed)

    def block(self, block: Any, where: Located, name: str) -> Block:
        if not isinstance(block, Located):
            raise self.error(where, f"{name}: a block must be a text or a mapping")
        kinds = [key for key in BLOCK_KEYS if key in block]
        if len(kinds) != 1:
            raise self.error(block, f"{name}: a block has exactly one of {', '.join(BLOCK_KEYS)}")
        kind = kinds[0]
        self.only(block, BLOCK_KEYS[kind] | {kind}, f"{name}: {kind}")
        if kind in ("text", "thinking"):
            return self.text(block, kind)
        if kind == "tool":
            given = plain(self.value(block, "input", dict, {}))
            return Tool(self.value(block, "tool", str, ""), given, self.value(block, "raw", bool, False))
        if kind == "error":
            return self.api_error(block, name)
        if kind == "stop":
            usage = self.value(block, "usage", dict, {})
            return Stop(self.value(block, "stop", str, ""), {k: int(v) for k, v in usage.items()})
        if kind == "drop":
            return Drop(self.times(block))
        return self.wait(block, kind, name)

    def text(self, block: Located, kind: str) -> Text:
        chunk, rate, repeat = (self.number(block, key) for key in ("chunk", "rate", "repeat"))
        return Text(
            text=self.value(block, kind, str, ""),
            chunk=None if chunk is None else int(chunk),
            rate=rate or None,
            repeat=1 if repeat is None else int(repeat),
            raw=self.value(block, "raw", bool, False),
            thinking=kind == "thinking",
            open=self.value(block, "open", bool, False),
        )

    def api_error(self, block: Located, name: str) -> Error:
        given = block["error"]
        status, message = NAMED_ERRORS.get(given, (given, None)) if isinstance(given, str) else (given, None)
        if status not in ERRORS:
            choice = ", ".join(map(str, [*ERRORS, *NAMED_ERRORS]))
            raise self.error(block, f"{name}: `error` must be one of {choice}")
        kind, usual = ERRORS[status]
        return Error(
            status=status,
            type=kind,
            message=self.value(block, "message", str, message or usual),
            times=self.times(block),
            retry_after=self.number(block, "retry_after"),
        )

    def times(self, block: Located) -> int | None:
        times = self.number(block, "times")
        return None if times is None else int(times)

    def wait(self, block: Located, kind: str, name: str) -> Wait:
        if kind == "stall" and block[kind] == "forever":
            return Wait(None, mute=True)
        return Wait(self.number(block, kind), mute=kind == "stall")

    def only(self, mapping: Located, known: Iterable[str], what: str) -> None:
        unknown = sorted(mapping.keys() - set(known))
        if unknown:
            choice = ", ".join(sorted(known))
            raise self.error(mapping, f"{what}: unknown key {unknown[0]!r}; known: {choice}")

    def value(self, mapping: Located, key: str, kind: type, default: Any) -> Any:
        found = mapping.get(key, default)
        if kind is str and type(found) is int:
            return str(found)
        if key in mapping and not isinstance(found, kind):
            raise self.error(mapping, f"`{key}` must be {KINDS[kind]}, not {found!r}")
        return found

    def number(self, mapping: Located, key: str) -> float | None:
        """A number that is not negative, or None where the key is absent."""
        found = mapping.get(key)
        if key in mapping and (isinstance(found, bool) or not isinstance(found, int | float) or found < 0):
            raise self.error(mapping, f"`{key}` must be a number, 0 or more, not {found!r}")
        return found


def plain(value: Any) -> Any:
    """The value as ordinary dicts and lists."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value
