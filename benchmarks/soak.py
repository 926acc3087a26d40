"""Soak

A kernel whose session is suspended and resumed again and again, each time with a prompt that must come back
right, and which is then left alone with the session suspended. The baseline of a line is the same before,
after a few cycles that import what is needed and start the threads; of the wake-ups it is a bare kernel in
the same time. A sweep runs every five minutes. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, at_most, table
from benchmarks.idle import spent
from benchmarks.notebook import checked
from benchmarks.results import circumstances, write_section
from benchmarks.sandbox import sandbox
from benchmarks.suspended import our_threads, wakeups_of

CYCLES, IDLE = 500, 600.0
# What the first cycles import, start and allocate stays.
WARM_UP = 10
# One cell's worth; a cycle takes half a second, on a loaded machine some seconds.
BATCH, PATIENCE = 10, 300.0
# The allocator's and the interpreter's own; a leak of 20 KB a cycle is more in 500 of them.
MEMORY_LIMIT = 10.0
MEGABYTE = 1024 * 1024

BEGIN = """
import claude_nb, threading
session = claude_nb.manager().session("soak")
"""
CYCLE = """
for number in range({first}, {last}):
    reply = session.ask(f"repeat cycle {{number}}").result(60)
    assert reply.text == f"cycle {{number}}", reply
    assert session.suspend().result(60)
"""
TRANSCRIPT = "str(claude_nb.transcript.find_transcript(session.id))"


@dataclass(frozen=True)
class Held:
    """What a process has now."""

    files: int
    threads: int
    megabytes: float
    children: int
    zombies: int


def held(pid: int) -> Held:
    process = psutil.Process(pid)
    children = process.children(recursive=True)
    return Held(
        process.num_fds(),
        process.num_threads(),
        process.memory_info().rss / MEGABYTE,
        len(children),
        sum(child.status() == psutil.STATUS_ZOMBIE for child in children),
    )


def measure(cycles: int, idle: float, folder: Path) -> list[Figure]:
    with running_kernel(folder, load=False) as bare, running_kernel(folder) as kernel:
        checked(kernel.run(BEGIN))
        run_cycles(kernel, 0, WARM_UP)
        before = held(kernel.pid)
        run_cycles(kernel, WARM_UP, WARM_UP + cycles)
        after = held(kernel.pid)
        found = [*kept(before, after, cycles), lost_messages(kernel, WARM_UP + cycles)]
        if idle:
            found += left_alone(kernel, bare, before, idle)
    return found


def run_cycles(kernel: Kernel, first: int, last: int) -> None:
    for begin in range(first, last, BATCH):
        checked(kernel.run(CYCLE.format(first=begin, last=min(begin + BATCH, last)), PATIENCE))


def kept(before: Held, after: Held, cycles: int) -> list[Figure]:
    """What must be as before."""
    grown = after.megabytes - before.megabytes
    return [
        Figure("suspended and resumed", cycles, "times"),
        as_before("file descriptors", before.files, after.files),
        as_before("threads", before.threads, after.threads),
        at_most("processes below the kernel", after.children, 0),
        at_most("zombies", after.zombies, 0),
        Figure("resident memory", after.megabytes, "MB", before.megabytes),
        at_most("of this, grown", max(grown, 0), MEMORY_LIMIT, "MB"),
    ]


def as_before(what: str, before: int, after: int) -> Figure:
    return Figure(what, after, "", before, before, "as before")


def lost_messages(kernel: Kernel, cycles: int) -> Figure:
    """Prompts and replies that the transcript has not got; a line that does not parse raises."""
    path = Path(kernel.eval(TRANSCRIPT).strip("'"))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    said = [json.dumps(e["message"]) for e in entries if e.get("type") in ("user", "assistant")]
    prompts = sum(any(f'"repeat cycle {n}"' in line for line in said) for n in range(cycles))
    replies = sum(any(f'"cycle {n}"' in line for line in said) for n in range(cycles))
    return at_most("messages lost", 2 * cycles - prompts - replies, 0)


def left_alone(kernel: Kernel, bare: Kernel, before: Held, idle: float) -> list[Figure]:
    """What the kernel does while nobody asks anything."""
    ours = our_threads(kernel)
    begin, bare_begin, own = spent(kernel.pid), spent(bare.pid), wakeups_of(kernel.pid, ours)
    time.sleep(idle)
    used, bare_used = spent(kernel.pid).since(begin), spent(bare.pid).since(bare_begin)
    woken, after = wakeups_of(kernel.pid, ours) - own, held(kernel.pid)
    return [
        Figure("then left alone", idle, "s"),
        as_before("file descriptors in the end", before.files, after.files),
        as_before("threads in the end", before.threads, after.threads),
        at_most("zombies in the end", after.zombies, 0),
        at_most("grown in the end", max(after.megabytes - before.megabytes, 0), MEMORY_LIMIT, "MB"),
        Figure("wake-ups of the kernel", used.wakeups, "", bare_used.wakeups),
        Figure("of these, of our threads", woken, ""),
        Figure("processor time", used.seconds * 1000, "ms", bare_used.seconds * 1000),
    ]


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    title, _, about = (__doc__ or "").partition("\n\n")
    before = Path.cwd()
    with sandbox() as folder:
        os.chdir(folder)
        try:
            found = measure(options.cycles, options.idle, folder)
        finally:
            os.chdir(before)
    print(f"{title}\n\n{table(found)}", flush=True)
    if options.write:
        write_section(title, f"{' '.join(about.split())}\n\n{table(found)}\n\n{circumstances(1)}")
    return int(any("missed" in figure.verdict for figure in found))


def parser() -> argparse.ArgumentParser:
    """The environment has the defaults, for `make soak`."""
    environ = os.environ
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=int(environ.get("CLAUDE_NB_SOAK_CYCLES", CYCLES)))
    parser.add_argument(
        "--idle", type=float, default=float(environ.get("CLAUDE_NB_SOAK_IDLE", IDLE)), help="seconds"
    )
    parser.add_argument("--write", action="store_true", help="record what was measured in RESULTS.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
