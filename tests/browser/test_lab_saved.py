"""JupyterLab 4 in a browser, a whole kernel and the real CLI: what stays of a turn in the notebook."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lab_kit import Frontend, Notebook, source
from playwright.sync_api import expect

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.browser

# What differs from run to run has no place in a saved output.
CHANCE = re.compile(r"\d+(\.\d+)? s\b|tokens|\bpid\b|[0-9a-f]{8}-[0-9a-f]{4}-")

PROMPTS = (
    "%claude hello",
    "%claude explain the fast Fourier transform",
    "%claude list the files",
    "%claude think about primes",
    "x = %claude ECHO kept?",
    "%claude count slowly to 20",
)


@pytest.fixture(scope="module")
def told(shared_lab: Frontend) -> Notebook:
    """A notebook that was run to its end by somebody who watched, and saved."""
    notebook = shared_lab.open(*PROMPTS, load=False)
    notebook.run_all()
    notebook.save()
    return notebook


def test_a_turn_leaves_one_clean_output(told: Notebook) -> None:
    for cell in told.saved()["cells"][1:]:
        (output,) = cell["outputs"]
        assert output["output_type"] == "display_data"
        assert list(output["data"]) == ["text/markdown"]
        assert output["metadata"] == {}
        assert not CHANCE.search(source(output["data"]["text/markdown"]))


def test_a_saved_notebook_passes_nbval_strictly(told: Notebook, offline: OfflineAPI, tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "nbval", "--nbval", "-p", "no:cacheprovider", told.file.name],
        cwd=told.file.parent,
        env={**os.environ, **offline.environment(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-4000:]
    assert f"{len(PROMPTS) + 1} passed" in answer.stdout


def test_a_reloaded_page_shows_what_was_saved(told: Notebook) -> None:
    before = told.text(1)
    told.reload()
    told.see(1, "Hello!")
    expect(told.output(1)).to_have_text(before, use_inner_text=True)


def test_a_notebook_from_elsewhere_reads_well_without_a_kernel(told: Notebook, lab: Frontend) -> None:
    content = told.saved()
    content["metadata"] = {"kernelspec": {"name": "elsewhere", "display_name": "Elsewhere"}}
    path = told.path.parent / "elsewhere" / "notebook.ipynb"
    (lab.server.folder / path).parent.mkdir()
    (lab.server.folder / path).write_text(json.dumps(content))
    notebook = lab.show(path)
    notebook.choose_no_kernel()
    notebook.see(1, "Hello!")
    expect(notebook.output(2).locator("mjx-container").first).to_be_attached()
    expect(notebook.output(2).locator("table tr")).to_have_count(3)
    card = notebook.output(3).locator("details")
    card.scroll_into_view_if_needed()
    expect(card.locator("pre").first).not_to_be_visible()
    card.locator("summary").click()
    expect(card.locator("pre").first).to_be_visible()
    notebook.screenshot("without-kernel")


def test_a_page_reloaded_in_mid_turn_leaves_the_session_usable(lab: Frontend) -> None:
    notebook = lab.open("%claude count slowly to 20", "%claude ECHO still here")
    notebook.start(1)
    notebook.see(1, re.compile(r"\b3 4\b"))
    notebook.save()
    notebook.reload()
    notebook.run(2)
    notebook.see(2, "ECHO still here")
