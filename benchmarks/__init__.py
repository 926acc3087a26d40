"""What we claim about speed, and how to measure it: `python -m benchmarks [NAME...] [--runs N] [--write]`.

Every figure is compared with the *raw* CLI in the same run: the same executable with the same flags, folders
and loopback API, spoken to over its pipes by the few lines of `raw.py`, without any SDK. Both sides take
turns, so that a busy machine is as busy for the one as for the other. What counts is the ratio.

    sandbox      private folders, and the offline API as a program of its own
    raw          the raw CLI
    figures      medians, goals, tables
    results      RESULTS.md, a section for each benchmark
    notebook     a kernel at work
    python_api   sessions without a kernel
    server       a Jupyter server and its websocket

Each of the other modules is one benchmark: its docstring says what is measured, `measure(runs)` does it.
"""

import sys
from pathlib import Path

# `kernel_kit` drives real kernels, for the tests and for us.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
