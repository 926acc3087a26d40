"""Ten sessions at once

Ten sessions stream for ten seconds into ten cells of one kernel behind a real Jupyter server: what a page's
websocket gets, beside what the kernel sent. A server drops messages above a thousand a second; a page gets
slow long before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.server import Channels, Message, kernel_behind_server

SESSIONS = 10
# Ten seconds of streaming, on a machine that has ten processes of Claude Code to run.
PATIENCE = 60.0
# Counts differ little from run to run.
MOST_RUNS = 3

# In the kernel: count the displays that are sent.
COUNT = """
sent = 0
def counting(*args, _send=get_ipython().kernel.session.send, **kwargs):
    global sent
    message = _send(*args, **kwargs)
    sent += message["msg_type"].endswith("display_data")
    return message
get_ipython().kernel.session.send = counting
"""


@dataclass
class Received:
    """What came over the websocket: when the kernel sent each display of a cell, and the last of them."""

    moments: dict[str, list[float]] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    printed: str = ""

    def add(self, message: Message) -> None:
        cell = message["parent_header"].get("msg_id", "")
        data = message["content"].get("data", {})
        if message["msg_type"].endswith("display_data"):
            self.moments.setdefault(cell, []).append(
                datetime.fromisoformat(message["header"]["date"]).timestamp()
            )
            if "text/markdown" in data:  # else it is a sign of life
                self.shown[cell] = data["text/markdown"]
        elif message["msg_type"] == "stream":
            self.printed += message["content"]["text"]


@dataclass(frozen=True)
class Trial:
    """How one time went."""

    sent: int
    received: int
    unfinished: int
    busiest_session: int
    busiest_second: int


def measure(runs: int, folder: Path) -> list[Figure]:
    trials = [one_trial(folder) for _ in range(min(runs, MOST_RUNS))]
    return [
        Figure("messages sent by the kernel", sum(trial.sent for trial in trials), ""),
        at_most("of these, lost on the way", sum(trial.sent - trial.received for trial in trials), 0),
        at_most("sessions whose end was not shown", sum(trial.unfinished for trial in trials), 0),
        at_most("most in a second, one session", max(trial.busiest_session for trial in trials), 20),
        at_most("most in a second, the kernel", max(trial.busiest_second for trial in trials), 200),
    ]


def one_trial(folder: Path) -> Trial:
    received = Received()
    with kernel_behind_server(folder, received.add) as channels:
        channels.run("%load_ext claude_nb")
        for name in names():
            channels.run(f"%claude -s {name} say a word")
        channels.run(COUNT)
        received.moments.clear()
        cells = [channels.run(f"%claude -b -s {name} write for ten seconds as {name}") for name in names()]
        wait_for_ends(channels, received, cells)
        channels.run("print(sent)")
    streams = [received.moments[cell] for cell in cells]
    return Trial(
        sent=int(received.printed.split()[-1]),
        received=sum(map(len, streams)),
        unfinished=sum(not ended(received.shown[cell]) for cell in cells),
        busiest_session=max(map(busiest_second, streams)),
        busiest_second=busiest_second(moment for stream in streams for moment in stream),
    )


def names() -> list[str]:
    return [f"s{number}" for number in range(SESSIONS)]


def wait_for_ends(channels: Channels, received: Received, cells: Sequence[str]) -> None:
    """Until every cell shows the end of its reply, or for as long as that could take."""
    try:
        channels.read_until(lambda _: all(ended(received.shown.get(cell, "")) for cell in cells), PATIENCE)
    except TimeoutError:
        return


def ended(markdown: str) -> bool:
    """The reply is there, and the status line below it has gone."""
    return markdown.rstrip().endswith(tuple(f"the end of {name}." for name in names()))


def busiest_second(moments: Iterable[float]) -> int:
    """The most messages in any second."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - 1:
            first += 1
        most = max(most, last - first + 1)
    return most
