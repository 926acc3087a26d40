"""Measure, print, and with `--write` record."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType

from benchmarks.figures import Figure, table
from benchmarks.results import circumstances, write_section
from benchmarks.sandbox import sandbox

NAMES = (
    "load_ext",
    "first_turn",
    "warm_turn",
    "resume",
    "interrupt",
    "long_reply",
    "large_line",
    "streaming",
    "idle",
    "suspended",
    "recorded",
    "looking",
    "endings",
    "chat_clicks",
    "chat_streaming",
    "chat_open",
    "chat_memory",
)
ENOUGH = 20


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for name in options.names or NAMES:
        benchmark = importlib.import_module(f"benchmarks.{name}")
        title, about = described(benchmark)
        print(f"{title}\n", flush=True)
        found = table(measured(benchmark, options.runs))
        print(f"{found}\n", flush=True)
        if options.write:
            write_section(title, f"{about}\n\n{found}\n\n{circumstances(options.runs)}")
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", type=known, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--runs", type=int, default=ENOUGH, help="of each side (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="record what was measured in RESULTS.md")
    return parser


def known(name: str) -> str:
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"there is no benchmark {name}; there are {', '.join(NAMES)}")
    return name


def described(benchmark: ModuleType) -> tuple[str, str]:
    """The title and the text of a benchmark, which its docstring consists of."""
    title, _, about = inspect.cleandoc(benchmark.__doc__ or "").partition("\n\n")
    return title, " ".join(about.split())


def measured(benchmark: ModuleType, runs: int) -> list[Figure]:
    """The figures of one benchmark, in folders and with an API of its own."""
    before = Path.cwd()
    with sandbox() as folder:
        os.chdir(folder)
        try:
            return list(benchmark.measure(runs, folder))
        finally:
            os.chdir(before)


if __name__ == "__main__":
    sys.exit(main())
