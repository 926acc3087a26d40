"""Asking by `input()`, where no card can be shown: the question as plain text, and a line to answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from IPython.core.error import StdinNotImplementedError

from claude_nb.asking.parts import Choice, choices, form
from claude_nb.asking.question import Decision, Question
from claude_nb.asking.shown import choice_text, plain_text
from claude_nb.asking.typed import typed
from claude_nb.render.marks import RUNNING

Read = Callable[[str], str]
Write = Callable[[str], None]

_NO = re.compile(r"no?(?:\s*:\s*(?P<reason>.*))?", re.IGNORECASE)
_NUMBERS = re.compile(r"\d{1,4}(?:\s*[,\s]\s*\d{1,4})*")


def ask_by_input(question: Question, read: Read, write: Write) -> Decision:
    """Show the question with `write` (as `print` does) and ask with `read` (as `input` does) until answered.

    Where nobody can be asked, the decision is "deny" by "nobody". KeyboardInterrupt passes.
    """
    try:
        # A notebook saves what is written here. It is marked as ours, so that no reply can look like it.
        shown, whole = (f"{RUNNING} {plain_text(question, masked=hides)}" for hides in (True, False))
        write(shown)
        match form(question):
            case "choices":
                return _ask_choices(choices(question), read, write)
            case "plan":
                return _ask_verdict("Go ahead? [y]es, [n]o, or", None, read, write)
        always = "[a]lways (the rule above), " if question.rule else ""
        hidden = None if shown == whole else whole
        show = "[s]how what is masked, " if hidden else ""
        return _ask_verdict(f"Allow? [y]es once, {always}{show}[n]o, or", question.rule, read, write, hidden)
    except (EOFError, StdinNotImplementedError):
        return Decision("deny", "nobody is there to be asked", by="nobody")


def _ask_verdict(
    prompt: str, rule: str | None, read: Read, write: Write, hidden: str | None = None
) -> Decision:
    while True:
        said = typed(read(f'{prompt} "n: reason" > '))
        if refusal := _refusal(said):
            return refusal
        match said.lower():
            case "y" | "yes":
                return Decision("once", by="input")
            case "a" | "always" if rule:
                return Decision("always", by="input")
            case "s" | "show" if hidden:
                write(hidden)
            case "a" | "always":
                write("Claude Code named no rule for this, so it can only be allowed once.")
            case _:
                write(f"{said!r} is none of these answers." if said else "Please say one of these.")


def _ask_choices(asked: list[Choice], read: Read, write: Write) -> Decision:
    answers: dict[str, str] = {}
    for choice in asked:
        write(choice_text(choice))
        answer = _ask_choice(choice, read, write)
        if isinstance(answer, Decision):
            return answer
        answers[choice.question] = answer
    return Decision("once", answers=answers, by="input")


def _ask_choice(choice: Choice, read: Read, write: Write) -> str | Decision:
    numbers = "numbers such as 1,3" if choice.several else "a number"
    ways = f"{numbers}, your own words" if choice.options else "your own words"
    while True:
        said = typed(read(f'Answer: {ways}, or "n: reason" to refuse > '))
        if refusal := _refusal(said):
            return refusal
        if not said:
            write("Please say something.")
        elif not choice.options or not _NUMBERS.fullmatch(said):
            return said
        elif answer := _picked(choice, [int(number) for number in re.findall(r"\d+", said)]):
            return answer
        else:
            one = "" if choice.several else "one "
            write(f"Please say {one}of 1 to {len(choice.options)}, or more than a number.")


def _picked(choice: Choice, numbers: list[int]) -> str:
    """The labels of the options with these numbers; empty where that is no answer."""
    if not all(1 <= number <= len(choice.options) for number in numbers):
        return ""
    if len(numbers) > 1 and not choice.several:
        return ""
    return ", ".join(choice.options[number - 1].label for number in dict.fromkeys(numbers))


def _refusal(said: str) -> Decision | None:
    match = _NO.fullmatch(said)
    return Decision("deny", (match["reason"] or "").strip(), by="input") if match else None
