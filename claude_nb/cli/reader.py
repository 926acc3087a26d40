"""A program: run a notebook in a real kernel and print what a reader would see, as it comes.

    python -m claude_nb.cli.reader NOTEBOOK

Exit status 1 if a cell failed. `jupyter claude demo --execute` runs it behind a guard.
"""

from __future__ import annotations

import html
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

# No cell of an example takes longer; a run that nobody watches has to end.
CELL_TIMEOUT = 120
# ipykernel warns on each start that loopback is not encrypted.
QUIET_KERNEL = ["--IPKernelApp.log_level=ERROR"]
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
BLANK = re.compile(r"\n\s*\n")
FENCE = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)\s*?$", re.MULTILINE | re.DOTALL)


def show(notebook: Path) -> int:
    """Run and print the notebook, up to the first cell that fails."""
    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(content, timeout=CELL_TIMEOUT, extra_arguments=QUIET_KERNEL)
    with client.setup_kernel():
        return int(any(show_cell(client, cell, index) for index, cell in enumerate(content.cells)))


def show_cell(client: NotebookClient, cell: Any, index: int) -> int:
    """Print a text cell; run a code cell and print it with its outputs. 1 if it failed."""
    if cell.cell_type != "code":
        print("\n" + cell.source, flush=True)
        return 0
    print("\n" + prefixed(cell.source, f"In [{client.code_cells_executed + 1}]: "), flush=True)
    try:
        client.execute_cell(cell, index)
    except CellExecutionError:
        print_outputs(cell.outputs)
        return 1
    except (CellTimeoutError, DeadKernelError) as error:
        print(f"The cell did not end: {error}", file=sys.stderr)
        return 1
    print_outputs(cell.outputs)
    return 0


def print_outputs(outputs: Iterable[Any]) -> None:
    """What stands below a cell."""
    for output in outputs:
        text = readable(output)
        if text.strip():
            print("\n" + text.rstrip("\n"))
    sys.stdout.flush()


def readable(output: Any) -> str:
    """One output as text: the richest form of it that a terminal can show."""
    if output.output_type == "stream":
        return ANSI.sub("", output.text)
    if output.output_type == "error":
        return ANSI.sub("", "\n".join(output.traceback))
    data = output.data
    if "text/markdown" in data:
        return without_tags(data["text/markdown"])
    return str(data.get("text/plain", ""))


def without_tags(markdown: str) -> str:
    """Markdown without the HTML that folds a card; code is left as it is."""
    parts: list[str] = []
    end = 0
    for fence in FENCE.finditer(markdown):
        parts += [_plain(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _plain(markdown[end:])])


def _plain(text: str) -> str:
    return BLANK.sub("\n\n", html.unescape(TAG.sub("", text)))


def prefixed(text: str, prompt: str) -> str:
    """The text behind a prompt, its further lines indented as far."""
    return prompt + textwrap.indent(text, " " * len(prompt)).lstrip()


if __name__ == "__main__":
    sys.exit(show(Path(sys.argv[1])))
