"""Tier: pure. What a request is read as, which rule answers it, and how a mistake in a script is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from claude_nb.offline import ScriptError
from claude_nb.offline.auxiliary import answer as auxiliary_answer
from claude_nb.offline.conversation import Conversation, read, tool_id
from claude_nb.offline.parse import parse_text
from claude_nb.offline.player import Sent, fold, play
from claude_nb.offline.script import Text, Wait, answer, load

pytestmark = pytest.mark.pure


def user(*texts: str, results: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"role": "user", "content": [*results, *({"type": "text", "text": text} for text in texts)]}


def claude(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def call(step: int) -> dict[str, Any]:
    use = {"type": "tool_use", "id": tool_id("ab", 1, step), "name": "Bash", "input": {}}
    return {"role": "assistant", "content": [use]}


def result(step: int, text: str = "", is_error: bool = False) -> dict[str, Any]:
    return {
        "type": "tool_result",
        "tool_use_id": tool_id("ab", 1, step),
        "content": text,
        "is_error": is_error,
    }


def reading(*messages: dict[str, Any]) -> Conversation:
    return read({"model": "m", "messages": list(messages)})


def said(rules: str, *messages: dict[str, Any], **body: Any) -> str:
    """What the rules answer to a conversation, as text."""
    request = {"model": "m", "messages": list(messages), **body}
    found = answer(parse_text(rules), read(request))
    events = [item for item in play(found, request, Sent("ab", 1)) if isinstance(item, dict)]
    return "".join(block.get("text", "") for block in fold(events)["content"])


REMINDER = "<system-reminder>\nread me\n</system-reminder>\n"


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([{"role": "user", "content": "plain"}], "plain"),
        ([user(REMINDER, "typed")], "typed"),
        ([user("typed", REMINDER)], "typed"),
        ([user("context", "typed")], "typed"),
        ([user("typed"), {"role": "system", "content": "# Environment"}], "typed"),
        ([user("old"), claude("x"), user("[Request interrupted by user]", "new")], "new"),
        ([user("old"), call(0), user("new", results=(result(0, is_error=True),))], "new"),
        ([user("typed"), call(0), user(results=(result(0),))], "typed"),
        ([user("  spaces kept \\\n ")], "  spaces kept \\\n "),
        ([user("I say <system-reminder>x</system-reminder> in a prompt")],) * 1
        + ("I say <system-reminder>x</system-reminder> in a prompt",),
    ],
)
def test_the_prompt_is_what_the_person_typed_last(messages: list[dict[str, Any]], prompt: str) -> None:
    assert reading(*messages).prompt == prompt


def test_a_conversation_knows_its_step_its_result_and_a_refusal() -> None:
    going_on = reading(user("go"), call(0), user(results=(result(0, "one"),)), call(1))
    assert (going_on.step, going_on.first) == (0, True)
    second = reading(
        user("go"), call(0), user(results=(result(0),)), call(1), user(results=(result(1, "no", True),))
    )
    assert (second.step, second.result, second.refused) == (2, "no", True)


def test_results_of_parallel_tools_are_one_step() -> None:
    both = reading(user("go"), call(0), user(results=(result(0, "a"),)), user(results=(result(0, "b"),)))
    assert (both.step, both.result) == (1, "a\nb")


def test_results_of_parallel_tools_are_in_the_order_of_the_calls() -> None:
    request = {"model": "m", "messages": [user("go")]}
    rules = parse_text("rules: [{always: true, reply: [{tool: A}, {tool: B}]}]")
    events = play(answer(rules, read(request)), request, Sent("ab", 1))
    calls = fold(event for event in events if isinstance(event, dict))["content"]
    ended = [{"type": "tool_result", "tool_use_id": c["id"], "content": c["name"]} for c in reversed(calls)]
    assert (
        reading(user("go"), {"role": "assistant", "content": calls}, user(results=(*ended,))).result == "A\nB"
    )


def test_a_new_prompt_after_a_tool_begins_at_the_first_step() -> None:
    again = reading(user("go"), call(0), user(results=(result(0),)), claude("done"), user("go"))
    assert (again.step, again.first) == (0, False)


def test_a_turn_that_claude_code_starts_itself_is_not_the_last_prompt_again() -> None:
    rules = """
rules:
  - {says: go, reply: went}
  - {notice: task (\\w+), reply: noticed}
  - {always: true, reply: other}
"""
    history = [user("go"), claude("went")]
    assert said(rules, *history, user("<system-reminder>task done</system-reminder>")) == "noticed"
    silent = said(rules, *history, user("<system-reminder>go</system-reminder>"))
    assert "in the background" in silent
    assert said(rules, *history, user("<system-reminder>task done</system-reminder>", "go")) == "went"
    assert said(rules, user("go"), call(0), user(results=(result(0),)), user(REMINDER)) != silent


def test_the_first_rule_that_fits_answers() -> None:
    rules = """
rules:
  - {says: apple, reply: fruit}
  - {exactly: apple pie, reply: never reached}
  - {matches: '^p(\\w+)', reply: "p and {1}"}
  - {always: true, reply: other}
"""
    assert said(rules, user("An APPLE pie")) == "fruit"
    assert said(rules, user("pear")) == "p and ear"
    assert said(rules, user("x pear")) == "other"


def test_a_condition_may_be_on_the_model_the_system_prompt_and_the_context() -> None:
    rules = """
rules:
  - {model: haiku, reply: small}
  - {system: 'be (brief)', reply: brief}
  - {context: df has 3 rows, reply: I see df}
  - {first: true, reply: first}
  - {always: true, reply: later}
"""
    assert said(rules, user("x"), model="claude-haiku") == "small"
    assert said(rules, user("x"), system=[{"type": "text", "text": "Be brief."}]) == "brief"
    assert said(rules, user("df has 3 rows", "x")) == "I see df"
    assert said(rules, user("x")) == "first"
    assert said(rules, user("a"), claude("b"), user("x")) == "later"


def test_recall_finds_only_what_the_user_said_earlier_in_this_request() -> None:
    rules = """
rules:
  - {says: what, recall: 'the word is (\\w+)', reply: 'It is {recall}.'}
  - {always: true, reply: nothing}
"""
    assert said(rules, user("the word is heron"), claude("ok"), user("what?")) == "It is heron."
    assert said(rules, user("what?")) == "nothing"
    assert said(rules, user("x"), claude("the word is crow"), user("what?")) == "nothing"
    twice = [user("the word is heron"), claude("ok"), user("the word is crow"), claude("ok"), user("what?")]
    assert said(rules, *twice) == "It is crow."


def test_unknown_braces_and_raw_texts_stay_as_they_are() -> None:
    rules = r"""
rules:
  - matches: f(.)
    reply: [{text: '\frac{1}{2} {prompt}', raw: true}, '{x}{prompt}{1}']
"""
    assert said(rules, user("fa")) == r"\frac{1}{2} {prompt}{x}faa"


def test_a_refused_tool_gets_its_own_reply() -> None:
    rules = """
rules:
  - says: go
    reply: [{tool: Bash, input: {command: 'echo {prompt}'}}]
    then:
      - {ok: 'saw {result}', refused: 'a pity: {result}'}
"""
    assert said(rules, user("go"), call(0), user(results=(result(0, "yes"),))) == "saw yes"
    assert said(rules, user("go"), call(0), user(results=(result(0, "no", True),))) == "a pity: no"
    assert "nothing more" in said(rules, user("go"), call(1), user(results=(result(1),)))


def test_the_preface_comes_once_in_a_conversation_before_text_and_before_a_tool() -> None:
    rules = """
preface: I am a script.
rules:
  - {says: tool, reply: [{tool: Bash}], then: [done]}
  - {says: bare, preface: false, reply: bare}
  - {always: true, reply: hi}
"""
    assert said(rules, user("x")) == "I am a script.\n\nhi"
    assert said(rules, user("x"), claude("hi"), user("x")) == "hi"
    assert said(rules, user("tool")) == "I am a script.\n\n"
    assert said(rules, user("tool"), call(0), user(results=(result(0),))) == "done"
    assert said(rules, user("bare")) == "bare"


def test_repeat_counts_and_makes_a_chunk_each() -> None:
    rules = parse_text("rules: [{always: true, reply: [{text: '{n} ', repeat: 3, rate: 200}]}]")
    request = {"model": "m", "messages": [user("x")]}
    items = list(play(answer(rules, read(request)), request, Sent("ab", 1)))
    deltas = [i["delta"]["text"] for i in items if isinstance(i, dict) and i["type"] == "content_block_delta"]
    assert deltas == ["1 ", "2 ", "3 "]
    assert items.count(Wait(1 / 200)) == 3


def test_chunk_0_sends_a_text_whole() -> None:
    rules = parse_text("rules: [{always: true, reply: [{text: ab, repeat: 50000, chunk: 0}]}]")
    request = {"model": "m", "messages": [user("x")]}
    items = play(answer(rules, read(request)), request, Sent("ab", 1))
    deltas = [i for i in items if isinstance(i, dict) and i["type"] == "content_block_delta"]
    assert [delta["delta"]["text"] for delta in deltas] == ["ab" * 50000]


def test_later_scripts_take_precedence_and_the_built_in_one_comes_last(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules: [{name: a, says: x, reply: a}, {name: a2, says: y, reply: a}]")
    (tmp_path / "b.yaml").write_text("rules: [{name: b, says: x, reply: b}]")
    files = [tmp_path / "a.yaml", str(tmp_path / "b.yaml")]
    assert [rule.name for rule in load(files, builtin=False)] == ["b", "a", "a2"]
    assert [rule.name for rule in load(files)][3:] == [rule.name for rule in load(None)]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("rules: [", 1, "expected the node content"),
        ("- x", 1, "a script is a mapping"),
        ("", 1, "a script is a mapping"),
        ("rules: []", 1, "at least one rule"),
        ("rules:\n  - says: x\n    replay: y", 2, "unknown key 'replay'"),
        ("rules:\n  - name: N\n    reply: y", 2, "N: needs a condition"),
        ("rules:\n  - says: x", 2, "needs a `reply`"),
        ("rules:\n  - says: x\n    says: y\n    reply: z", 3, "'says' is given twice"),
        ("rules:\n  - matches: '('\n    reply: y", 2, "not a regular expression"),
        ("rules:\n  - says: x\n    reply:\n      - error: 418", 4, "`error` must be one of 400, 401"),
        (
            "rules:\n  - says: x\n    reply:\n      - text: y\n        rate: fast",
            4,
            "`rate` must be a number",
        ),
        ("rules:\n  - says: x\n    reply:\n      - {text: y, tool: z}", 4, "exactly one of"),
        ("rules:\n  - says: x\n    reply:\n      - {stall: long}", 4, "`stall` must be a number"),
        ("rules:\n  - says: x\n    reply: y\n    then: [{refused: z}]", 4, "needs `ok` too"),
        ("rules:\n  - says: x\n    reply: []", 2, "a text or a list of blocks"),
        ("rules:\n  - says: x\n    reply: [{text: true}]", 3, "`text` must be a text, not True"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(text: str, line: int, part: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_text(text, "my.yaml")
    message = str(caught.value)
    assert message.startswith(f"my.yaml, line {line}: ")
    assert part in message
    assert "\n" not in message


def test_a_text_may_look_like_yamls_other_kinds() -> None:
    for text in ("yes", "2026-13-45", "42", "off"):
        rules = f"rules: [{{always: true, reply: [{{text: {text}}}]}}]"
        assert said(rules, user("x")) == text


def test_a_missing_script_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"nowhere\.yaml, line 1: cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("prompt", "part"),
    [
        ("hello", "Hello!"),
        ("help", "| say |"),
        ("explain the fast Fourier transform", "```python"),
        ("explain the fast Fourier transform", r"\sum_{n=0}^{N-1}"),
        ("think about primes", "infinitely many"),
        ("list the files", "look into this folder"),
        ("create a file", "if I may"),
        ("remember the word heron", "part of this conversation"),
        ("what did I ask you to remember?", "have not asked me"),
        ("count slowly to 20", "19 20"),
        ("write a long text", "Line 900"),
        ("echo a\\b {x}", "text\necho a\\b {x}\n"),
        ("colourless green ideas", "I am a script"),
        ("", "I am a script"),
    ],
)
def test_the_built_in_script_answers_every_prompt_and_says_what_it_is(prompt: str, part: str) -> None:
    request = {"model": "claude-opus-5-5", "messages": [user(prompt)]}
    found = answer(load(None), read(request))
    events = [item for item in play(found, request, Sent("ab", 1)) if isinstance(item, dict)]
    text = "".join(block.get("text", "") for block in fold(events)["content"])
    assert text.startswith("> **This is a script, not a model.**")
    assert part in text


@pytest.mark.parametrize(
    ("told", "recalled"),
    [
        ("remember the word heron", "heron"),
        ("Please remember the code word: blue heron.", "blue heron"),
        ("remember that I like tea", "I like tea"),
        ("Remember `x = 3`", "x = 3"),
    ],
)
def test_the_built_in_script_recalls(told: str, recalled: str) -> None:
    messages = [user(told), claude("ok"), user("what did I ask you to remember?")]
    request = {"model": "m", "messages": messages}
    found = answer(load(None), read(request))
    assert found.values["recall"] == recalled


def test_every_prompt_that_help_names_has_a_rule_of_its_own() -> None:
    rules = load(None)
    table = next(rule for rule in rules if rule.name == "help").steps[0].ok[0]
    assert isinstance(table, Text)
    rows = [row.split("|")[1] for row in table.text.splitlines() if row.startswith("| `")]
    prompts = [part for row in rows for part in row.split("`")[1::2]]
    assert len(prompts) >= 10
    answered = [answer(rules, reading(user(prompt))).rule for prompt in prompts]
    assert "anything else" not in answered
    assert len(set(answered)) == len(answered)


def test_a_request_that_claude_code_makes_itself_takes_no_rule() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "ok": {"type": "boolean"}}}
    titled = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    probe, plain = {"max_tokens": 1}, {"max_tokens": 1000}
    summarise = "Your task is to create a detailed summary of the conversation so far, paying attention"
    assert auxiliary_answer(titled, Conversation("fix it")) == '{"title": "fix it", "ok": false}'
    assert auxiliary_answer(probe, Conversation("quota")) == "ok"
    assert auxiliary_answer(plain, Conversation("fix it")) is None
    summary = auxiliary_answer(plain, Conversation(summarise, earlier=("the word is heron",)))
    assert summary is not None
    assert "the word is heron" in summary
