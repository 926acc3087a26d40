"""What Claude is told of an output: its best text, and of what is written over the last state. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from claude_nb.kernel.mime import best_text
from claude_nb.kernel.plain import BoundedText

pytestmark = pytest.mark.pure

NOTHING = "<IPython.core.display.HTML object>"
PAGE = """<style>td {color: red}</style><SCRIPT>var secret = "<p>";</SCRIPT>
<h2>Sales &amp; costs</h2><table><tr><th>year</th><th>sum</th></tr><tr><td>2024</td><td>7</td></tr></table>
<p>in <b>millions</b><br>of euros <img alt="a bar" src="x"></p>"""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"text/plain": "42", "text/html": "<b>43</b>"}, "42"),
        ({"text/plain": NOTHING, "text/markdown": "*m*", "text/html": "<b>h</b>"}, "*m*"),
        ({"text/plain": "<IPython.core.display.Math object>", "text/latex": "$x^2$"}, "$x^2$"),
        ({"text/latex": "$x^2$"}, "$x^2$"),
        (
            {"text/plain": "<pandas.io.formats.style.Styler at 0x7f33ab>", "text/html": PAGE},
            "Sales & costs\nyear | sum\n2024 | 7\nin millions\nof euros [a bar]",
        ),
        ({"application/json": {"a": [1, None]}, "text/plain": NOTHING}, '{"a": [1, null]}'),
        ({"text/html": "<script>draw()</script>", "application/vnd.plotly.v1+json": {}},
         "(application/vnd.plotly.v1+json)"),
        ({"image/png": "iVBORw0", "text/plain": "<IPython.core.display.Image object>"}, "(image/png)"),
        ({"application/x-ours": object()}, "(application/x-ours)"),
        ({"text/plain": "<__main__.Thing object at 0x7f33ab>"}, "<__main__.Thing object at 0x7f33ab>"),
        ({}, ""),
    ],
)  # fmt: skip
def test_an_output_says_its_best_text_or_its_type(data: dict[str, Any], said: str) -> None:
    assert best_text(data) == said


def test_a_huge_output_is_read_as_far_as_it_is_worth() -> None:
    page = f"<script>{'x' * 5_000_000}</script><p>the end</p>"
    assert best_text({"text/html": page}) == "the end"
    assert len(best_text({"text/html": "<p>a" * 1_000_000})) < 30_000
    assert len(best_text({"application/json": list(range(1_000_000))})) < 30_000


def test_of_a_line_that_is_written_over_the_last_state_is_kept() -> None:
    text = BoundedText(200)
    text.add("first\n")
    for percent in range(1_000):
        text.add(f"\r{percent} of 999", "bar")
        if percent == 500:
            text.add("half of it\n", "words")
    assert text.text() == "first\nhalf of it\n999 of 999"
    text.add("\ndone\n", "bar")
    assert text.text() == "first\nhalf of it\n999 of 999\ndone\n"


def test_a_long_line_costs_no_more_than_many_short_ones_and_keeps_its_ends() -> None:
    text = BoundedText(200)
    for _ in range(100_000):
        text.add("x")
    text.add("\nend")
    told = text.text()
    assert told.startswith("xxx")
    assert told.endswith("\nend")
    assert "characters left out" in told
    assert len(told) < 500
