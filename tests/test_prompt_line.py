"""What a person may write behind `%claude`. Pure."""

from __future__ import annotations

import pytest

from claude_nb.prompt_line import PromptLineError, Request, nearest, parse_cell, parse_line, split_arguments

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "What does this do?",
        "it's \"half quoted",
        "{braces} $dollars %percent \\",
        "  two spaces in front and behind  ",
        "tabs\tinside",
        "- a bullet",
        "-5 degrees",
        "-.5",
        "-> an arrow",
        "--> a longer one",
        "--- a rule",
        "-",
        "write -q and --session into the docs",
        "naïve 日本語 🙂",
        "# not a comment",
        "/tmp/x.csv has two columns",
        "/etc/hosts",
        "/README.md is old",
        "/ is the root",
        "// is a comment",
        "/* so is this */",
        "/5 of them",
        "what is /help?",
    ],
)
def test_a_prompt_without_options_is_sent_as_it_is(prompt: str) -> None:
    assert parse_line(prompt) == Request(prompt=prompt)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-s review it's ok?", Request("it's ok?", session="review")),
        ("--session review hi", Request("hi", session="review")),
        ("--session=review hi", Request("hi", session="review")),
        ("-s=review hi", Request("hi", session="review")),
        ('-s "my review" hi', Request("hi", session="my review")),
        ("--session='my review' hi", Request("hi", session="my review")),
        ("-s Überprüfung hi", Request("hi", session="Überprüfung")),
        ("-o answer hi", Request("hi", out="answer")),
        ("-o ﬁt hi", Request("hi", out="fit")),
        ("-b hi", Request("hi", background=True)),
        ("--background hi", Request("hi", background=True)),
        ("-m opus hi", Request("hi", model="opus")),
        ("--model=claude-opus-4[1m] hi", Request("hi", model="claude-opus-4[1m]")),
        ("-n hi", Request("hi", new=True)),
        ("-q hi", Request("hi", quiet=True)),
        ("-qn hi", Request("hi", quiet=True, new=True)),
        ("-qs review hi", Request("hi", quiet=True, session="review")),
        ("--no-context hi", Request("hi", context=False)),
        ("  -q \t -n hi", Request("hi", quiet=True, new=True)),
        ("-q   two spaces stay", Request("  two spaces stay", quiet=True)),
        ("-q\ttab", Request("tab", quiet=True)),
        ("-q", Request(quiet=True)),
        ("-n", Request(new=True)),
        ("-s review", Request(session="review")),
        ("-q - a bullet", Request("- a bullet", quiet=True)),
        ("-q -- -n", Request("-n", quiet=True)),
        ("-- /status", Request("/status")),
        ("-q -- /clear", Request("/clear", quiet=True)),
        ("-- --verbose is what?", Request("--verbose is what?")),
        ("--  kept", Request(" kept")),
        ("--", Request()),
        ("-s a -s b hi", Request("hi", session="b")),
    ],
)
def test_options_come_before_the_prompt(text: str, expected: Request) -> None:
    assert parse_line(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-x foo", "-x is not an option of %claude. To send it as a prompt write `%claude -- -x ...`"),
        ("--verbose", "--verbose is not an option"),
        ("--sesion review hi", "Did you mean --session?"),
        ("--quit hi", "Did you mean --quiet?"),
        ("-qx hi", "-qx is not an option"),
        ("-item one", "`%claude -- -item ...`"),
        ("-s", "-s needs a value: -s NAME"),
        ("-s   ", "-s needs a value: -s NAME"),
        ("-s -q hi", "-s needs a value: -s NAME"),
        ("--model", "--model needs a value: --model MODEL"),
        ("--model= hi", "--model needs a value: --model MODEL"),
        ('-s "my review hi', "the quoted NAME is empty or not closed"),
        ("-s '' hi", "the quoted NAME is empty or not closed"),
        ("-sq review", "-sq: -s takes a value; write -s NAME"),
        ("-o 2x hi", "-o needs the name of a variable, and '2x' cannot be one"),
        ("-o class hi", "-o needs the name of a variable, and 'class' cannot be one"),
        ("-o a.b hi", "'a.b' cannot be one"),
        ("--quiet=yes hi", "--quiet takes no value"),
    ],
)
def test_a_wrong_option_is_explained_in_one_line(text: str, message: str) -> None:
    with pytest.raises(PromptLineError) as caught:
        parse_line(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "command", "arguments"),
    [
        ("/help", "help", ""),
        ("/new review --model opus", "new", "review --model opus"),
        ("  /status  ", "status", ""),
        ("/usr is full", "usr", "is full"),
        ("/plugin:deploy now", "plugin:deploy", "now"),
        ("/help?", "help?", ""),
        ("/compact\tfocus on\n>>> this", "compact", "focus on\n>>> this"),
    ],
)
def test_a_word_behind_a_slash_is_a_command(text: str, command: str, arguments: str) -> None:
    assert parse_line(text) == Request(text, command, arguments)


def test_options_may_stand_before_a_command() -> None:
    assert parse_line("-s review /status") == Request("/status", "status", session="review")


def test_clear_means_a_new_conversation() -> None:
    assert parse_line("/clear") == Request(new=True)
    assert parse_line("-s a /clear hello") == Request("hello", session="a", new=True)


@pytest.mark.parametrize(
    ("first_line", "body", "expected"),
    [
        ("", "one\ntwo\n", Request("one\ntwo")),
        ("", "one\n\n", Request("one\n")),
        ("", "no newline", Request("no newline")),
        ("", "  >>> 1\n", Request("  >>> 1")),
        ("", "-q is an option\n", Request("-q is an option")),
        ("", "\n", Request()),
        ("Explain:", ">>> 1\n", Request("Explain:\n>>> 1")),
        ("Explain: ", "\n", Request("Explain: ")),
        ("-qs review", "it's\n", Request("it's", session="review", quiet=True)),
        ("-s review   ", "it's\n", Request("it's", session="review")),
        ("-o x Why", "this?\n", Request("Why\nthis?", out="x")),
        ("--", "hi\n", Request("hi")),
        ("--", "/status\n", Request("/status")),
        ("", "/compact a\nb\n", Request("/compact a\nb", "compact", "a\nb")),
    ],
)
def test_the_first_line_of_a_cell_joins_its_body(first_line: str, body: str, expected: Request) -> None:
    assert parse_cell(first_line, body) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("a  b", ["a", "b"]),
        ('"my review" other', ["my review", "other"]),
        ("'my review'", ["my review"]),
        ("it's Bob's", ["it's", "Bob's"]),
        ('--agent="code reader" x', ["--agent=code reader", "x"]),
        ('"not closed', ['"not', "closed"]),
        ('""', [""]),
        ("a\\b", ["a\\b"]),
    ],
)
def test_quotes_keep_a_name_with_spaces_together_and_apostrophes_do_no_harm(
    text: str, words: list[str]
) -> None:
    assert split_arguments(text) == words


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("SESIONS", ["help", "sessions"]) == "sessions"
    assert nearest("review", ["Review", "status"]) == "Review"
    assert nearest("xyz", ["help", "sessions"]) is None
    assert nearest("help", []) is None
