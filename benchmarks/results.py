"""RESULTS.md: one section a benchmark, replaced when it is measured anew. Other sections are left alone."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("claude-agent-sdk", "ipykernel", "IPython", "jupyter_server")
INTRODUCTION = """\
# Results

`make bench ARGS=--write` measures what is below and puts it here. Unless a section says otherwise, the
baseline is the *raw* CLI: the same Claude Code with the same flags, folders and loopback API, spoken to over
its pipes by the few lines of `raw.py`, in the same run and by turns. Times are medians. The machine has other
work besides: trust the ratios.
"""


def write_section(title: str, body: str, file: Path = RESULTS) -> None:
    """Put the section into the file, at its place if it is there already."""
    text = file.read_text(encoding="utf-8") if file.exists() else INTRODUCTION
    section = f"## {title}\n\n{body.strip()}\n"
    old = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if old is None:
        text = f"{text.rstrip()}\n\n{section}"
    else:
        rest = text[old.end() :]
        text = text[: old.start()] + section + (f"\n{rest}" if rest else "")
    file.write_text(text, encoding="utf-8")


def circumstances(runs: int) -> str:
    """How often and where it was measured."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    python = platform.python_version()
    return f"{runs} runs on a shared 2-core machine: {platform.system()}, CPython {python}, {versions}."
