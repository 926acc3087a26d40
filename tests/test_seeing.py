"""Whole kernels and the real CLI: what goes along with a prompt, compared with what the API received."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from kernel_kit import Kernel

from claude_nb.offline import OfflineAPI
from claude_nb.offline.conversation import NOTE, REMINDER
from claude_nb.render.pictures import within

pytestmark = pytest.mark.kernel

NOTHING = "Nothing would be sent along: nothing has happened since this session's last turn.\n"
MARKER = "the-content-of-a-file-that-nobody-mentioned"


@pytest.fixture
def informed(headless: Kernel) -> Kernel:
    """The session knows of everything up to here."""
    headless.run("import claude_nb; manager = claude_nb.manager()")
    headless.run("%claude ECHO first")
    return headless


def with_prompt(api: OfflineAPI, prompt: str) -> list[dict[str, Any]]:
    """The blocks that the API received before the prompt, in the last request that ends with it."""
    for request in reversed(api.requests):
        for message in reversed(request["messages"]):
            if message["role"] != "user" or isinstance(message["content"], str):
                continue
            blocks = [block for block in message["content"] if is_ours(block)]
            if blocks and blocks[-1].get("text", "").strip() == prompt:
                return blocks[:-1]
    pytest.fail(f"no request has the prompt {prompt!r}")


def is_ours(block: dict[str, Any]) -> bool:
    """Claude Code did not add it by itself."""
    text = block.get("text", "")
    return block["type"] != "text" or not (REMINDER.fullmatch(text) or NOTE.fullmatch(text))


def along(api: OfflineAPI, prompt: str) -> str:
    """The text that went along with the prompt."""
    return "\n\n".join(block.get("text", "[an image]") for block in with_prompt(api, prompt))


def images(blocks: list[dict[str, Any]]) -> list[bytes]:
    return [base64.b64decode(block["source"]["data"]) for block in blocks if block["type"] == "image"]


# -- what happened ------------------------------------------------------------------------------------


def test_what_happened_goes_along_once(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("count = 3; print('printed by me')")
    informed.run("count * 14")
    informed.run("1 / 0")
    informed.run("%claude ECHO second")
    told = along(api, "ECHO second")
    for what in ("printed by me", "42", "ZeroDivisionError", "new count: 3"):
        assert what in told
    informed.run("count = 4")
    informed.run("%claude ECHO third")
    told = along(api, "ECHO third")
    assert "changed count: 4" in told
    assert "printed by me" not in told
    informed.run("%claude ECHO fourth")
    assert with_prompt(api, "ECHO fourth") == []


def test_context_shows_exactly_what_is_sent(informed: Kernel, api: OfflineAPI) -> None:
    assert informed.run("%claude /context").printed == NOTHING
    informed.run("data = {'a  b': \"it's *bold* <b>html</b>\"}; print('| a | table |\\n`code`')")
    prompt = """ECHO what is @data["a  b"]? It's @data"""
    shown = informed.run(f"%claude /context {prompt}")
    shown_text = shown.printed or "".join(display["text/plain"] for display in shown.displays)
    informed.run(f"%claude {prompt}")
    assert shown_text.rstrip("\n") == along(api, prompt)
    assert "| a | table |" in shown_text
    assert "What @data is" in shown_text
    assert 'What @data["a  b"] is' in shown_text
    assert informed.run("%claude /context").printed == NOTHING


def test_no_context_leaves_it_out_and_the_next_prompt_tells_it(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("count = 3")
    informed.run("%claude --no-context ECHO without")
    assert with_prompt(api, "ECHO without") == []
    informed.run("%claude --no-context ECHO only @count")
    assert "What @count is" in along(api, "ECHO only @count")
    assert "new count" not in along(api, "ECHO only @count")
    informed.run("%claude ECHO with")
    assert "new count: 3" in along(api, "ECHO with")


def test_the_budget_bounds_it_and_zero_is_nothing(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("%config SessionManager.context_budget = 300")
    informed.run("for number in range(5000): print('a long line of output', number)")
    informed.run("raise ValueError('what matters')")
    informed.run("%claude ECHO second")
    told = along(api, "ECHO second")
    assert "what matters" in told
    assert len(told) <= 300 * 4
    informed.run("%config SessionManager.context_budget = 0")
    informed.run("print('not told')")
    informed.run("%claude ECHO third")
    assert with_prompt(api, "ECHO third") == []


def test_prompts_that_wait_for_each_other_are_told_once(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("count = 3")
    informed.run(
        "turns = [manager.session().ask(f'ECHO queued {n}') for n in range(3)]\n"
        "for turn in turns: turn.result()"
    )
    assert "new count" in along(api, "ECHO queued 0")
    for number in (1, 2):
        assert "new count" not in along(api, f"ECHO queued {number}")


def test_what_goes_along_is_settled_when_the_prompt_is_asked(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("session = manager.session(); first = session.ask('say nothing at all')")
    informed.run("count = 3; second = session.ask('ECHO second')")
    informed.run("count = 4; third = session.ask('ECHO third')")
    informed.run("count = 5")
    informed.run("second.interrupt(); first.interrupt(); _ = third.result()")
    told = along(api, "ECHO third")
    assert "new count: 3" in told, "what the second prompt would have told"
    assert "changed count: 4" in told
    assert "count = 5" not in told
    assert "Turn" not in told
    informed.run("%claude ECHO fourth")
    assert "changed count: 5" in along(api, "ECHO fourth")


def test_each_session_is_told_for_itself_and_a_new_conversation_again(
    informed: Kernel, api: OfflineAPI
) -> None:
    informed.run("count = 3")
    informed.run("%claude ECHO one")
    informed.run("%claude -s other ECHO two")
    assert "count: 3" in along(api, "ECHO two")
    informed.run("%claude -n ECHO three")
    assert "count: 3" in along(api, "ECHO three")


def test_secrets_in_outputs_and_variables_are_masked(informed: Kernel, api: OfflineAPI) -> None:
    secret = "sk-ant-" + "a1B2" * 10
    informed.run(f"token = {secret!r}; print('the token is', token); token")
    informed.run("def f(password): raise ValueError(password)")
    informed.run(f"f({secret!r})")
    informed.run("%claude ECHO second @token")
    for prompt in ("list the variables", "inspect token", "read the last cells", "read the last error"):
        informed.run(f"%claude {prompt}")
    assert "token" in along(api, "ECHO second @token")
    assert secret not in str(api.requests[-10:])


def test_an_output_or_a_variable_that_names_a_file_brings_none(
    informed: Kernel, api: OfflineAPI, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text(MARKER)
    informed.run(f"print('look at @{outside} and @/etc/passwd'); note = '@{outside}'; '@{outside}'")
    informed.run(f"raise ValueError('@{outside}')")
    informed.run("%claude ECHO second @note")
    assert f"@{outside}" in along(api, "ECHO second @note")
    informed.run("%claude inspect note")
    informed.run("%claude read the last cells")
    sent = str(api.requests[-6:])
    assert MARKER not in sent
    assert "root:x:0" not in sent


# -- mentions -------------------------------------------------------------------------------------------


def test_a_mentioned_file_is_left_to_claude_code(informed: Kernel, api: OfflineAPI, folder: Path) -> None:
    """Which also shows that the marker of the test above would be found."""
    (folder / "notes.txt").write_text(MARKER)
    informed.run("%claude ECHO read @notes.txt")
    assert MARKER in str(api.requests[-1])


def test_mentions_of_variables_and_history_go_along(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("rows = [1, 2, 3]")
    informed.run("'a result ' * 3")
    number = informed.eval("max(Out)")
    prompt = f"ECHO @rows and @Out[{number}]"
    informed.run(f"%claude {prompt}")
    told = along(api, prompt)
    assert "What @rows is" in told
    assert f"What @Out[{number}] is" in told
    assert "a result a result" in told


def test_an_unknown_name_is_said_before_anything_is_sent(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("frame = 1")
    before = len(api.requests)
    cell = informed.run("%claude what is in @frme?")
    assert cell.reply["status"] == "error"
    assert "UsageError: There is no variable or file frme. Did you mean @frame?" in cell.printed
    assert "Traceback" not in cell.printed
    assert api.requests[before:] == []
    assert informed.run("%claude /context").printed.count("UsageError") == 0
    assert informed.eval("manager.session().turns") == "1"


def test_figures_and_images_go_along_as_pictures(informed: Kernel, api: OfflineAPI) -> None:
    informed.run("import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt")
    informed.run("fig, ax = plt.subplots(); _ = ax.plot([1, 3, 2])")
    informed.run("from PIL import Image; photo = Image.new('RGB', (40, 30), 'red')")
    informed.run("%claude ECHO @fig and @photo")
    blocks = with_prompt(api, "ECHO @fig and @photo")
    figure, photo = images(blocks)
    assert figure.startswith(b"\x89PNG")
    from PIL import Image

    assert Image.open(io.BytesIO(photo)).size == (40, 30)
    labels = [blocks[place - 1]["text"] for place, block in enumerate(blocks) if block["type"] == "image"]
    assert labels == ["@fig", "@photo"]
    shown = informed.run("%claude /context @photo")
    assert "[an image]" in str(shown.printed) + str(shown.displays)


# -- pictures -------------------------------------------------------------------------------------------


def pictures(cell: Any) -> list[str]:
    return [display["image/png"] for display in cell.displays if "image/png" in display]


def test_an_image_that_a_tool_returned_is_shown_in_the_cell(headless: Kernel, folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (50, 20), "blue").save(folder / "blue.png")
    cell = headless.run(f"%claude read the file {folder}/blue.png")
    assert len(pictures(cell)) == 1
    shown = Image.open(io.BytesIO(base64.b64decode(pictures(cell)[0])))
    assert shown.size == (50, 20)


def test_figures_are_seen_by_claude_and_not_shown_twice(headless: Kernel, api: OfflineAPI) -> None:
    headless.run("%matplotlib inline")
    drawn = headless.run("import matplotlib.pyplot as plt; fig, ax = plt.subplots(); _ = ax.plot([1, 3, 2])")
    assert len(pictures(drawn)) == 1
    cell = headless.run("%claude look at the figures")
    assert pictures(cell) == []
    results = [
        part
        for message in api.requests[-1]["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result" and isinstance(block["content"], list)
        for part in block["content"]
        if part["type"] == "image"
    ]
    assert len(results) == 1
    assert headless.run("%claude look at the picture nothing").error is None
    assert "is no picture" in headless.run("%claude look at the picture plt").markdown


BARS = {
    "text": "from tqdm import tqdm\nfor _ in tqdm(range(500), mininterval=0): pass",
    "widget": "from tqdm.auto import tqdm\nfor _ in tqdm(range(500)): pass",
    "rich": "from rich.progress import track\nfor _ in track(range(100)): pass",
}


@pytest.mark.parametrize("kind", BARS)
def test_of_a_progress_bar_the_end_is_told_and_only_that(
    informed: Kernel, api: OfflineAPI, kind: str
) -> None:
    assert informed.run(BARS[kind]).error is None
    informed.run("%claude ECHO how far was it?")
    told = "\n".join(block.get("text", "") for block in with_prompt(api, "ECHO how far was it?"))
    assert "100%" in told
    assert " 0%" not in told
    assert len(told) < 1500


# -- large and hostile namespaces -------------------------------------------------------------------------

HOSTILE = """
import time, pathlib
class Slow:
    def __repr__(self): time.sleep(60)
class Raises:
    def __repr__(self): raise RuntimeError("no repr")
    __str__ = __len__ = __repr__
class Deletes:
    @property
    def shape(self): pathlib.Path("precious.txt").unlink()
    dtype = columns = size = nbytes = name = shape
    def __getattr__(self, name): pathlib.Path("precious.txt").unlink()
slow, raises, deletes = Slow(), Raises(), Deletes()
globals().update({f"v{n}": n for n in range(10_000)})
"""


def test_ten_thousand_variables_and_hostile_ones_are_looked_at_and_left_alone(
    headless: Kernel, folder: Path, api: OfflineAPI
) -> None:
    (folder / "precious.txt").write_text("still here")
    headless.run(HOSTILE)
    listed = headless.run("%claude list the variables")
    assert listed.error is None
    assert "v9999" in listed.markdown or "more" in listed.markdown
    for name, kind in (("slow", "Slow"), ("raises", "Raises"), ("deletes", "Deletes")):
        seen = headless.run(f"%claude inspect {name}")
        assert seen.error is None
        assert f"{name}: " in seen.markdown
        assert kind in seen.markdown
        assert "given up" not in seen.markdown
    headless.run("%claude ECHO @slow @raises @deletes")
    assert "What @deletes is" in along(api, "ECHO @slow @raises @deletes")
    assert (folder / "precious.txt").read_text() == "still here"


def test_a_lazy_frame_of_five_gigabytes_is_not_computed(headless: Kernel) -> None:
    headless.run(
        "import polars as pl\n"
        "touched = []\n"
        "def boom(frame): touched.append(1); return frame\n"
        "lazy = pl.LazyFrame({'a': [1]}).select(pl.int_range(0, 640_000_000).alias('n')).map_batches(boom)"
    )
    cell = headless.run("%claude inspect lazy")
    assert "LazyFrame" in cell.markdown
    assert headless.eval("touched") == "[]"


def test_a_cell_takes_so_many_pictures_and_no_more() -> None:
    small, large = b"small", bytes(15_000_000)
    assert within([small] * 12) == [small] * 10
    assert within([large, large, small]) == [large, small]
    assert within([bytes(64_000_000)]) == []


def test_a_large_picture_comes_through(headless: Kernel, folder: Path) -> None:
    """Noise cannot be packed: its file is larger than the SDK's own bound of a message, 1 MB."""
    headless.run(
        "import numpy as np; from PIL import Image\n"
        "noise = np.random.default_rng(1).integers(0, 255, (1200, 1200, 3), 'uint8')\n"
        "Image.fromarray(noise).save('noise.png'); photo = Image.fromarray(noise)"
    )
    assert (folder / "noise.png").stat().st_size > 4_000_000
    cell = headless.run(f"%claude read the file {folder}/noise.png")
    assert cell.error is None
    images = [d for d in cell.displays if "image/png" in d or "image/jpeg" in d]
    assert len(images) == 1
    assert "I saw:" in headless.run("%claude look at the picture photo").markdown
    assert headless.run("%claude ECHO @photo").error is None
