# ruff: noqa: RUF001  (characters of other scripts are what this is about)
"""Pure: what models write with a plain meaning reaches every page with that meaning, though no rule says so.

The right reading is JupyterLab's own where it has one; where it has none, what a reader takes it for.
"""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup, Tag
from renderers import RENDERERS, faults

from claude_nb.render.dollars import formulas
from claude_nb.render.harmless import HarmlessStream, harmless
from claude_nb.render.html import markdown_html, text_html

pytestmark = pytest.mark.pure

# Mistune without any plugin for mathematics reads what is between dollars as Markdown.
PAGES = {name: (lambda text, r=render: r(harmless(text))) for name, render in RENDERERS.items()}
PAGES["chat"] = markdown_html


def page(name: str, text: str) -> BeautifulSoup:
    return BeautifulSoup(PAGES[name](text), "html.parser")


def words(found: Tag | BeautifulSoup) -> str:
    return " ".join(found.get_text().split())


BOLD = """\
* **具体：**与其说“一棵树”。
* **「重点」**内容很多。

結論は**「重要」**です。**注意：**正文。~~削除。~~文

이것은 **'중요'**입니다. **참고(Note):**설명.

`**注意：**` stays, 2**3**4 is bold, \\*\\*注意：\\*\\*正文 and * 注意 * and **not closed：正文 are not.
"""


@pytest.mark.parametrize("name", PAGES)
def test_bold_words_that_end_in_cjk_punctuation_are_bold(name: str) -> None:
    shown = page(name, BOLD)
    bold = [each.get_text() for each in shown.find_all("strong")]
    assert bold == ["具体：", "「重点」", "「重要」", "注意：", "'중요'", "참고(Note):", "3"]
    assert [each.get_text() for each in shown.find_all(["s", "del"])] == ["削除。"]
    assert [each.get_text() for each in shown.find_all("code")] == ["**注意：**"]
    assert words(shown).endswith("**注意：**正文 and * 注意 * and **not closed：正文 are not.")


TAGS = """\
| Item | Notes |
|---|---|
| 1 | - Point A<br>- Point B<br/>- <mark>C</mark> |

H<sub>2</sub>O and x<sup>2</sup>, press <kbd>Ctrl</kbd>+<kbd>C</kbd>.<br>
So it is.

<details><summary>More of **it**</summary>

Inside **bold**.

```html
</details>
```

- <details>
  <summary>Deeper</summary>

  `code`
  </details>

</details>

Never: <sub onclick="x()">s</sub> <sub>alone, `<br>` is code, List<int> is text, **<sup>across**</sup>
"""


@pytest.mark.parametrize("name", PAGES)
def test_tags_that_can_do_nothing_do_what_they_are_meant_for(name: str) -> None:
    shown = page(name, TAGS)
    cell = shown.find_all("td")[1]
    assert len(cell.find_all("br")) == 2
    assert words(cell) == "- Point A- Point B- C"
    inline = [(each.name, each.get_text()) for each in shown.find_all(["sub", "sup", "kbd", "mark"])]
    assert inline == [("mark", "C"), ("sub", "2"), ("sup", "2"), ("kbd", "Ctrl"), ("kbd", "C")]
    outer, inner = shown.find_all("details")
    assert outer.summary is not None
    assert inner.summary is not None
    assert (words(outer.summary), words(inner.summary)) == ("More of it", "Deeper")
    assert outer.find("strong", string="bold")
    assert "</details>" in words(outer)
    assert words(inner) == "Deeper code"
    rest = words(shown).partition("Never: ")[2]
    assert rest == '<sub onclick="x()">s</sub> <sub>alone, <br> is code, List<int> is text, <sup>across</sup>'


def test_a_details_that_grows_is_harmless_and_whole_at_every_step() -> None:
    stream = HarmlessStream()
    for char in TAGS:
        stream.feed(char)
        value = stream.value()
        assert value.count("<details>") == value.count("</details>") - value.count("\n</details>\n```")
    assert stream.value(partial=False) == harmless(TAGS)
    assert faults(harmless(TAGS)) == {}


PIPES = """\
| $|x|$ | `a|b` | c |
|---|---|---|
| $P(A\\|B)$ | `x\\|y` | $\\|x\\|$ |
| `a | b | c |
| a | b | c | too | many |
| \\(|a|\\) | `` ` | `` | \\| |
| few |
"""


@pytest.mark.parametrize("name", [name for name in PAGES if name != "chat"])
def test_no_word_of_a_table_is_lost_to_a_pipe(name: str) -> None:
    rows = [[words(cell) for cell in row.find_all(["td", "th"])] for row in page(name, PIPES).find_all("tr")]
    assert rows == [
        ["$\\vert x\\vert$", "a|b", "c"],
        ["$P(A\\vert B)$", "x|y", "$\\Vert x\\Vert$"],
        ["`a", "b", "c"],
        ["a", "b", "c | too | many"],
        ["$\\vert a\\vert$", "` |", "|"],
        ["few", "", ""],
    ]


# How many formulas there are in each.
DOLLARS = {
    "Add $HOME/bin:$PATH to your profile, then $HOME/.local/bin:$PATH again.": 0,
    "Rename $foo to $bar in PHP; R has df$age and df$name.": 0,
    "jQuery $(this) and $(that); the regex ^a$|^b$ too.": 0,
    "Use echo $USER:$HOME or ${VAR}_$SUFFIX, $a/$bar, $(date)$(hostname).": 0,
    "echo $$; kill $$; $this->foo($bar)": 0,
    "R$ 12,29/metro, R$ 15,83/metro e (R$ 18,60/metro); **$1.50**, US$5 to A$6, $10–$20.": 0,
    "US$5 or 6$ each, 5$/month or 10$ a year": 0,
    "A call worth $C$ costs $5 when $K = 100$; with $S_0=\\$50$ you pay $50.": 3,
    "The $n$th element, $k$NN, $\\alpha$s, H$_2$O, 10 m$^2$ and $10^{-3}$M": 6,
    "由$x$是实数, $f$(x) and $total cost = price \\times n$": 3,
    "$x$, $y$ and $z$: $$a b$$ or $a b c$": 5,
}


@pytest.mark.parametrize("text", DOLLARS)
def test_a_shell_s_dollars_are_no_formulas_and_a_formula_s_are(text: str) -> None:
    assert len(list(formulas(text))) == DOLLARS[text]
    signs = re.sub(r"<span>&#36;</span>|\\\$", "", harmless(text)).replace("$$", "$").count("$")
    assert signs == 2 * DOLLARS[text]
    assert markdown_html(text).count("<math") == DOLLARS[text]
    plain = words(BeautifulSoup(RENDERERS["nbconvert"](harmless(text)), "html.parser"))
    assert plain == text.replace("**", ""), "nothing is lost"


RIGHT_TO_LEFT = """\
הקובץ **config.json** נשמר `x = 1` בתיקייה.

1. ראשית, פתחו את JupyterLab.

   ```python
   print('קוד')
   ```

   Then in English.

| שם | ערך |
|---|---|
| גודל | 1 |
| size | 2 |

> ציטוט קצר

```python
print('קוד')
```

English paragraph: שלום.
"""


def directions(shown: BeautifulSoup, *names: str) -> dict[str, str]:
    """Of each such element, by its text, as a browser has it."""
    return {words(each): _direction(each) for each in shown.find_all(names)}


def _direction(element: Tag) -> str:
    around = [element, *element.parents]
    return next((str(each["dir"]) for each in around if "dir" in each.attrs), "ltr")


def test_each_paragraph_item_and_cell_of_a_chat_has_its_own_direction() -> None:
    shown = page("chat", RIGHT_TO_LEFT)
    prose = directions(shown, "p", "li", "td", "th")
    assert all(found == ("ltr" if text[0] in "TEs" else "rtl") for text, found in prose.items()), prose
    assert set(directions(shown, "ol", "table", "blockquote").values()) == {"rtl"}
    assert set(directions(shown, "pre", "code").values()) == {"ltr"}
    assert "dir=" not in markdown_html("Plain **English**.\n\n- one\n\n| a |\n|---|\n| b |")
    assert page("chat", "> Note: `x`, then\n>\n> שלום").blockquote.get("dir") is None


@pytest.mark.parametrize("name", RENDERERS)
def test_what_is_read_from_the_right_is_said_to_be_in_a_cell(name: str) -> None:
    shown = page(name, RIGHT_TO_LEFT)
    assert directions(shown, "p")["הקובץ config.json נשמר x = 1 בתיקייה."] == "rtl"
    assert directions(shown, "td")["גודל"] == "rtl"
    assert directions(shown, "p")["English paragraph: שלום."] == "ltr"
    assert set(directions(shown, "pre").values()) == {"ltr"}
    assert shown.find("strong", string="config.json")


def test_a_prompt_has_the_direction_of_its_first_letter() -> None:
    assert 'dir="rtl"' in text_html("שלום, what is x?")
    assert "dir=" not in text_html("What is שלום?")
