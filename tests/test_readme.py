"""The README's examples work as written: each as one cell of a fresh kernel, which has loaded nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_kit import Kernel, running_kernel

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
SCRIPT = """
rules:
  - matches: "^Say "
    reply: [{text: "said it"}]
  - matches: .
    reply:
      - text: |
          ```python
          x = 1
          ```
"""


@pytest.fixture
def api(private_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfflineAPI]:
    """An API with a script of its own."""
    with OfflineAPI(script=SCRIPT) as api:
        config = tmp_path / "claude"
        config.mkdir(mode=0o700)
        for name, value in api.environment(config).items():
            monkeypatch.setenv(name, value)
        yield api


def prompts(api: OfflineAPI) -> list[str]:
    """The last user message's last text of each request for a reply."""
    said = []
    for request in api.requests:
        users = [message for message in request["messages"] if message["role"] == "user"]
        content = users[-1]["content"]
        said.append(content if isinstance(content, str) else content[-1].get("text", ""))
    return said


def test_there_are_examples_and_one_loads_and_asks_in_the_same_cell() -> None:
    assert len(EXAMPLES) >= 3
    assert any("%load_ext claude_nb\n%claude " in example for example in EXAMPLES)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_pasted_into_a_fresh_kernel_works(number: int, folder: Path, api: OfflineAPI) -> None:
    example = EXAMPLES[number]
    with running_kernel(folder, load=False) as kernel:
        cell = kernel.run(example)
        assert cell.error is None, cell.shown_error
        assert "not found" not in cell.printed
        asked = [
            *re.findall(r"^%claude (.*)$", example, re.MULTILINE),
            *re.findall(r'\.ask\("(.*?)"\)', example),
        ]
        assert [prompt for prompt in asked if prompt not in prompts(api)] == []


def test_the_rest_of_the_cell_that_loads_is_read_as_any_other(folder: Path, api: OfflineAPI) -> None:
    typed = [
        "Say what this is? ",
        "Say it's $HOME and {braces}\\",
        "Say which of `them`??",
    ]
    lines = [
        f"x = %claude {typed[0]}",
        "for i in range(1):",
        f"    %claude {typed[1]}",
        f"%claude {typed[2]}",
    ]
    body = "\n".join(["%load_ext claude_nb", *lines, ""])
    with running_kernel(folder, load=False) as kernel:
        cell = kernel.run("before = 1\n" + body + "x.text, before")
        assert cell.error is None, cell.shown_error
        assert cell.value == "('said it', 1)"
        assert [prompt for prompt in prompts(api) if prompt.startswith("Say")] == typed


def test_where_the_cell_cannot_be_read_again_it_says_so_and_nothing_is_sent(
    folder: Path, api: OfflineAPI
) -> None:
    with running_kernel(folder, load=False) as kernel:
        # Read by our rules, what comes before the loading line would have been another statement.
        cell = kernel.run(
            "if True:\n    %load_ext claude_nb\n    %claude Say what this is?\n    %claude Say this"
        )
        said = cell.printed + cell.shown_error
        assert said.count("Nothing was sent: IPython had read this cell") >= 1
        assert "Run the cell again." in said
        assert "Traceback" not in said
        assert api.requests == []
        assert again(kernel, "%claude Say this") == "said it"


def again(kernel: Kernel, code: str) -> str:
    cell = kernel.run(code)
    assert cell.error is None, cell.shown_error
    return cell.markdown
