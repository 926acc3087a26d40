"""Pure: a question asked by `input()`, answered with what a person may type."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from IPython.core.error import StdinNotImplementedError

from claude_nb.asking.ask_input import ask_by_input
from claude_nb.asking.question import Decision, Question

pytestmark = pytest.mark.pure

BASH = Question("analysis", "Bash", {"command": "ls -l"})
RULED = Question("analysis", "Bash", {"command": "ls -l"}, rule="Bash(ls:*)")
PLAN = Question("analysis", "ExitPlanMode", {"plan": "# Look\n\nThen leap."})
COLOUR = {"question": "Which colour?", "header": "Colour", "options": [{"label": "Red"}, {"label": "Blue"}]}
SHAPES = {**COLOUR, "question": "Which shapes?", "multiSelect": True}


def asking(*questions: dict[str, object]) -> Question:
    return Question("analysis", "AskUserQuestion", {"questions": list(questions)})


class Person:
    """Types these lines, one after the other, and sees what is written; then nobody is there any more."""

    def __init__(self, *lines: str) -> None:
        self.lines: Iterator[str] = iter(lines)
        self.seen: list[str] = []

    def read(self, prompt: str) -> str:
        self.seen.append(prompt)
        for line in self.lines:
            return line
        raise EOFError

    def asked(self, question: Question) -> Decision:
        return ask_by_input(question, self.read, self.seen.append)

    @property
    def prompts(self) -> list[str]:
        return [text for text in self.seen if text.endswith(" > ")]


@pytest.mark.parametrize(
    ("question", "line", "decision"),
    [
        (BASH, "y", Decision("once", by="input")),
        (BASH, " Yes ", Decision("once", by="input")),
        (BASH, "n", Decision("deny", by="input")),
        (BASH, "n: use git, not rm: please", Decision("deny", "use git, not rm: please", by="input")),
        (BASH, "no:  later ", Decision("deny", "later", by="input")),
        (BASH, "\x1b[A\x1b[Dn: a\x07b\u202ec", Decision("deny", "abc", by="input")),
        (RULED, "a", Decision("always", by="input")),
        (PLAN, "y", Decision("once", by="input")),
        (PLAN, "n: first the data", Decision("deny", "first the data", by="input")),
        (asking(COLOUR), "2", Decision("once", answers={"Which colour?": "Blue"}, by="input")),
        (asking(COLOUR), "Green", Decision("once", answers={"Which colour?": "Green"}, by="input")),
        (asking(SHAPES), "2, 1", Decision("once", answers={"Which shapes?": "Blue, Red"}, by="input")),
        (asking(SHAPES), "1 2 1", Decision("once", answers={"Which shapes?": "Red, Blue"}, by="input")),
        (asking(COLOUR), "n: ask me later", Decision("deny", "ask me later", by="input")),
        (asking({"question": "How many?"}), "7", Decision("once", answers={"How many?": "7"}, by="input")),
    ],
)
def test_an_answer_is_understood_at_once(question: Question, line: str, decision: Decision) -> None:
    person = Person(line)
    assert person.asked(question) == decision
    assert len(person.prompts) == 1


@pytest.mark.parametrize(
    "line", ["", "   ", "maybe", "yn", "\x03", "a", "always", "1", "n reason", "y\u202e!"]
)
def test_anything_else_is_asked_again_and_allows_nothing(line: str) -> None:
    person = Person(line, "n")
    assert person.asked(BASH) == Decision("deny", by="input")
    assert len(person.prompts) == 2


@pytest.mark.parametrize("line", ["", "3", "0", "1,2", "99999"[:4]])
def test_a_number_that_is_no_option_is_asked_again(line: str) -> None:
    person = Person(line, "1")
    assert person.asked(asking(COLOUR)).answers == {"Which colour?": "Red"}
    assert len(person.prompts) == 2


def test_always_is_offered_only_with_its_rule() -> None:
    without, with_rule = Person("a", "y"), Person("a")
    assert without.asked(BASH).verdict == "once"
    assert not any("[a]lways" in prompt for prompt in without.prompts)
    assert any("no rule" in text for text in without.seen)
    assert with_rule.asked(RULED).verdict == "always"
    assert "Bash(ls:*)" in with_rule.seen[0]


def test_every_question_gets_an_answer() -> None:
    answers = Person("1", "1,2").asked(asking(COLOUR, SHAPES)).answers
    assert answers == {"Which colour?": "Red", "Which shapes?": "Red, Blue"}


def fails_with(error: BaseException) -> Callable[[str], str]:
    def read(prompt: str) -> str:
        raise error

    return read


@pytest.mark.parametrize("error", [EOFError(), StdinNotImplementedError("raw_input was called")])
@pytest.mark.parametrize("question", [RULED, PLAN, asking(COLOUR)])
def test_where_nobody_can_type_the_answer_is_no(error: Exception, question: Question) -> None:
    decision = ask_by_input(question, fails_with(error), lambda text: None)
    assert decision == Decision("deny", "nobody is there to be asked", by="nobody")


def test_interrupt_is_not_an_answer() -> None:
    with pytest.raises(KeyboardInterrupt):
        ask_by_input(BASH, fails_with(KeyboardInterrupt()), lambda text: None)


def test_what_the_shell_would_run_is_written_even_where_a_terminal_would_hide_it() -> None:
    person = Person("n")
    person.asked(Question("analysis", "Bash", {"command": "ls \x1b]0; rm -rf ~\x07\r\u202e"}))
    assert "ls \u241b]0; rm -rf ~\u2407\u240d\u27e6U+202E\u27e7" in person.seen[0]
    assert "\x1b" not in person.seen[0]


def test_what_a_notebook_would_save_is_masked_and_shown_to_who_asks_for_it() -> None:
    token = "ghp_abcdefghijklmnopqrst1234567890"
    person = Person("s", "y")
    asked = person.asked(
        Question("analysis", "Bash", {"command": f"curl -H 'Authorization: Bearer {token}'"})
    )
    assert asked == Decision("once", by="input")
    first, prompt, whole, _ = person.seen
    assert token not in first
    assert "[masked]" in first
    assert "[s]how what is masked" in prompt
    assert token in whole
    person = Person("s", "y")
    person.asked(BASH)
    assert "[s]how" not in person.prompts[0]
    assert "'s' is none of these answers." in person.seen
