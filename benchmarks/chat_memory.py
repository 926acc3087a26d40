"""A thousand turns in an open chat

What a kernel holds in memory after so many turns in a session whose chat is displayed: after a tenth of them,
when all that is needed has been imported, and at the end. A chat keeps its last 300 turns, and so much the
kernel may grow. `--runs` is the number of turns in hundreds, ten at most; the goal is for a thousand.
"""

from __future__ import annotations

from pathlib import Path

from kernel_kit import Kernel, running_kernel

from benchmarks.figures import Figure, at_most
from benchmarks.notebook import checked
from benchmarks.soak import Held, held

MOST_HUNDREDS = 10
# So much may hold the turns that a chat keeps, and the allocator what it does not give back.
LIMIT = 15.0
BATCH, PATIENCE = 20, 300.0
OPEN = "import claude_nb; chat = claude_nb.ChatWidget('memory'); chat"
TURNS = """
for number in range({first}, {last}):
    assert chat.ask("say something").result(60).status == "completed"
"""
SHOWN = "len(chat.feed.turns)"


def measure(runs: int, folder: Path) -> list[Figure]:
    turns = 100 * min(runs, MOST_HUNDREDS)
    with running_kernel(folder) as kernel:
        checked(kernel.run(OPEN))
        before = after_turns(kernel, 0, turns // 10)
        after = after_turns(kernel, turns // 10, turns)
        shown = int(kernel.eval(SHOWN))
    grown = after.megabytes - before.megabytes
    return [
        Figure("turns", turns, "", turns // 10),
        Figure("of these in the chat", shown, ""),
        Figure("resident memory", after.megabytes, "MB", before.megabytes),
        at_most("of this, grown", max(grown, 0), LIMIT, "MB"),
        Figure("file descriptors", after.files, "", before.files),
        Figure("threads", after.threads, "", before.threads),
    ]


def after_turns(kernel: Kernel, first: int, last: int) -> Held:
    for begin in range(first, last, BATCH):
        checked(kernel.run(TURNS.format(first=begin, last=min(begin + BATCH, last)), PATIENCE))
    return held(kernel.pid)
