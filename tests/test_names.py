"""Names of sessions and of notebooks. Pure."""

from __future__ import annotations

import pytest

from claude_nb.errors import InvalidName
from claude_nb.names import check_name, notebook_name

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "name",
    ["review", "my review (2)", "a.b_c-d", "2024", "Überprüfung", "分析", "हिन्दी", "_x", "x" * 100],
)
def test_a_name_may_be_written_in_any_script(name: str) -> None:
    assert check_name(name) == name


def test_a_name_typed_with_combining_marks_is_the_same_name() -> None:
    assert check_name("re\u0301sume\u0301") == "r\u00e9sum\u00e9"


def test_spaces_around_a_name_do_not_count() -> None:
    assert check_name("  review ") == "review"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("a/b", "'/' is not allowed"),
        ("a\\b", "'\\\\' is not allowed"),
        ("..", "it starts with '.'"),
        (".hidden", "it starts with '.'"),
        ("-s", "it starts with '-'"),
        ("a\nb", "'\\n' is not allowed"),
        ("a\0b", "'\\x00' is not allowed"),
        ("a\u202eb", "'\\u202e' is not allowed"),
        ("a\u00a0b", "'\\xa0' is not allowed"),
        ("<b>", "'<' is not allowed"),
        ("it's", '"\'" is not allowed'),
        ("🙂", "'🙂' is not allowed"),
        ("x" * 101, "it has 101 characters, 100 are allowed"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name)
    message = str(caught.value)
    assert reason in message
    assert "Use letters, digits" in message
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/notebooks/analysis.ipynb", "analysis"),
        ("analysis.ipynb", "analysis"),
        ("analysis", "analysis"),
        ("C:\\work\\analysis.ipynb", "analysis"),
        ("work/analysis.v2.ipynb", "analysis.v2"),
        ("work/R&D: café*.ipynb", "R-D- café"),
        ("work/.hidden.ipynb", "hidden"),
        ("work/.ipynb", "ipynb"),
        ("work/Überprüfung 2.ipynb", "Überprüfung 2"),
        ("work/analysis-jvsc-9c1d7fe0-3c5e-4f8a-a1b2-0123456789ab.ipynb", "analysis"),
        ("work/analysis.ipynb-jvsc-9c1d7fe03c5e", "analysis"),
        ("x" * 200 + ".ipynb", "x" * 100),
        ("🙂.ipynb", None),
        ("", None),
    ],
)
def test_a_notebook_lends_its_name_to_its_session(path: str, name: str | None) -> None:
    assert notebook_name({"JPY_SESSION_NAME": path}) == name
    if name is not None:
        assert check_name(name) == name


def test_a_kernel_without_a_notebook_has_no_name() -> None:
    assert notebook_name({}) is None


def test_the_file_that_vs_code_names_comes_before_an_inherited_one() -> None:
    assert notebook_name({"JPY_SESSION_NAME": "/a/outer.ipynb"}, "/b/inner.ipynb") == "inner"
