"""Whole kernels and the real CLI: keys and tokens that tools get and give do not get into the notebook."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_kit import PATIENCE, Cell, Kernel, on_each_ipykernel
from processes_kit import wait_until

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

TOKEN = "ghp_abcdefghijklmnopqrst1234567890"
MASKED = "ghp_…[masked]"
# Written so that the token does not stand in the code, by each way in which output leaves a kernel.
OUTPUT = f"""
import os, sys, threading
from IPython.display import HTML, Markdown, display
token = {TOKEN[:4]!r} + {TOKEN[4:]!r}
print('printed', token)
print('password=', end=''); print('hunt' + 'er2')
sys.stderr.write('without an end ' + token)
os.system('echo by a child ' + token)
display(HTML('<b>' + token + '</b>'), Markdown('*' + token + '*'))
display({{'application/json': [token]}}, raw=True)
thread = threading.Thread(target=print, args=('in a thread', token)); thread.start(); thread.join()
print('-----BEGIN PRIVATE KEY-----'); print('MII' + 'Eow'); print('-----END PRIVATE KEY-----')
'the value ' + token
"""


def saved(cell: Cell) -> str:
    """All that a notebook keeps of the cell, and what it has had in between."""
    return str([message["content"] for message in cell.messages if message["msg_type"] != "execute_input"])


@on_each_ipykernel
@pytest.mark.usefixtures("code_is_allowed")
def test_outputs_of_code_that_claude_runs_are_masked_and_the_persons_are_not(kernel: Kernel) -> None:
    cell = kernel.run(f"%%claude\nrun: {OUTPUT}")
    assert cell.error is None
    shown = saved(cell)
    assert TOKEN not in shown
    assert "hunter2" not in shown
    assert "MIIEow" not in shown
    for way in ("printed ", "without an end ", "by a child ", "<b>", "*", "in a thread ", "the value "):
        assert f"{way}{MASKED}" in shown
    cell = kernel.run("%claude run: print(token, flush=True); raise ValueError(token)")
    assert TOKEN not in saved(cell)
    assert f"ValueError\\x1b[39m: {MASKED}" in saved(cell)
    # The values are whole, the person's own prints are theirs, and everything is as it was.
    assert kernel.eval("token") == repr(TOKEN)
    assert kernel.run("print(token)").printed == f"{TOKEN}\n"
    assert kernel.eval("[name for name in ('flush', 'write') if name in vars(sys.stdout)]") == "['write']"
    # Nothing of it was taken for the prompt's own output, which would be told once more.
    told = kernel.run("%claude /context").printed
    assert "printed ghp" not in told


@on_each_ipykernel
@pytest.mark.usefixtures("code_is_allowed")
def test_the_users_threads_print_as_they_are_while_code_of_claudes_runs(kernel: Kernel) -> None:
    kernel.run(f"token = {TOKEN!r}; go, went = threading.Event(), threading.Event()")
    kernel.run(
        "def work():\n    go.wait(); print('mine', token); went.set()\nthreading.Thread(target=work).start()"
    )
    kernel.run("%claude run: print('hers', token); go.set(); went.wait()")
    seen = kernel.run("%claude /show").markdown
    assert f"hers {MASKED}" in seen


def test_what_tools_get_and_give_is_masked_unless_a_person_asks_to_see_it(
    headless: Kernel, api: OfflineAPI, folder: Path
) -> None:
    (folder / ".env").write_text(f"ANTHROPIC_API_KEY=sk-secret\nGITHUB_TOKEN={TOKEN}\n")
    # Claude's own words repeat it.
    cell = headless.run("%claude read the file .env")
    assert "It says: " in cell.markdown
    assert "Read" in cell.markdown
    assert "sk-secret" not in saved(cell)
    assert TOKEN not in saved(cell)
    assert f"GITHUB_TOKEN={MASKED}" in cell.markdown
    # Claude Code itself has got it.
    assert TOKEN in str(api.requests[-1]["messages"])
    assert TOKEN not in headless.run("%claude /show").markdown
    whole = headless.run("%claude /show --unmasked").markdown
    assert whole.count(TOKEN) >= 2
    assert "sk-secret" in whole
    # Each is shown as far as its own thread has read what was said before.
    chats: list[str] = []
    headless.run("import claude_nb")

    def another() -> bool:
        chats.append(saved(headless.run("claude_nb.ChatWidget(claude_nb.manager().session().name)")))
        return "GITHUB_TOKEN" in chats[-1]

    wait_until(another, PATIENCE)
    assert TOKEN not in "".join(chats)
    history = headless.run("%claude /history")
    assert "GITHUB_TOKEN=ghp" in saved(history)
    assert TOKEN not in saved(history)
    assert TOKEN in headless.eval("claude_nb.manager().session().last_turn.text"), (
        "what Claude wrote is unchanged"
    )
