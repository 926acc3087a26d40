"""The real CLI on the loopback API: whoever meets at a session, there is one process and nothing is lost.

Each race is run 10 times; `CLAUDE_NB_RACES=1000` says how often instead. A trial costs a resume or two. After
a hundred trials a new conversation is begun, so that the last trial is as quick as the first.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from claude_nb import commands, transcript
from claude_nb.offline import OfflineAPI
from claude_nb.session import Session
from claude_nb.session_manager import SessionManager
from claude_nb.state import State

pytestmark = pytest.mark.cli

PATIENCE = 60.0
TRIALS = int(os.environ.get("CLAUDE_NB_RACES", "10"))
# A conversation's worth of trials.
CHAPTER = 100
# Between two looks at all processes. One that is started or ended takes longer.
LOOK = 0.02
# What a process's own clock may be behind ours.
CLOCK_STEP = 1.0
# So short that it runs out about when the next prompt comes.
IDLE = 0.05


@pytest.fixture
def folder(api: OfflineAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, in which we are, with records of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return folder


@pytest.fixture
def manager(folder: Path) -> Iterator[SessionManager]:
    manager = SessionManager(drain_timeout=1)
    yield manager
    manager.shutdown()


# -- what must hold --------------------------------------------------------------------------------


class Watch:
    """Looks again and again how many processes of Claude Code carry a conversation at the same time. It is
    begun before the first of them."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.most = 0
        self._began = time.time() - CLOCK_STEP
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            self.most = max(self.most, len(conversing(self.conversation, self._began)))


def conversing(conversation: str, since: float) -> set[int]:
    """Claude Code's processes with this conversation, whoever started them. A child of one that has not yet
    become another program looks like its parent, and does not count."""
    found: dict[int, int] = {}
    for process in psutil.process_iter():
        try:
            if process.create_time() < since:
                continue
            words = process.cmdline()
            if words and words[0].endswith("_bundled/claude") and any(conversation in w for w in words):
                found[process.pid] = process.ppid()
        except (psutil.Error, OSError):
            continue
    return {pid for pid, parent in found.items() if parent not in found}


def remembered(conversation: str) -> list[str]:
    """What a resumed Claude Code would know, oldest first: from the last message of the transcript back to
    the first, each by its parent. Every line must parse."""
    path = transcript.find_transcript(conversation)
    assert path is not None
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    by_id = {entry["uuid"]: entry for entry in entries if "uuid" in entry}
    entry = next(e for e in reversed(entries) if e.get("type") in ("user", "assistant"))
    texts: list[str] = []
    while entry is not None:
        texts += text_of(entry)
        entry = by_id.get(entry.get("parentUuid") or entry.get("logicalParentUuid"))
    return texts[::-1]


def text_of(entry: dict[str, Any]) -> list[str]:
    content = entry.get("message", {}).get("content", [])
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [block["text"] for block in blocks if block.get("type") == "text"]


def assert_all_remembered(conversation: str, prompts: list[str]) -> None:
    """Each prompt once, with its reply after it."""
    texts = remembered(conversation)
    wanted = set(prompts)
    assert sorted(text for text in texts if text in wanted) == sorted(prompts)
    for place, text in enumerate(texts):
        if text in wanted:
            assert texts[place + 1] == f"<<<{text}>>>"


@contextmanager
def watched(session: Session) -> Iterator[list[str]]:
    """Put the answered prompts into the list. There was one process at a time, and all of them are told."""
    prompts: list[str] = []
    with Watch(session.id) as watch:
        yield prompts
    session.stop().result(PATIENCE)
    assert watch.most == 1
    assert_all_remembered(session.id, prompts)


def chapters(manager: SessionManager, trials: int = TRIALS) -> Iterator[tuple[Session, list[str], int]]:
    """Each trial's session, the list for its prompts, and its number."""
    for first in range(0, trials, CHAPTER):
        session = manager.session(f"from {first}")
        with watched(session) as prompts:
            ask(session, prompts, "ECHO at first")
            for number in range(first, min(first + CHAPTER, trials)):
                yield session, prompts, number


def ask(session: Session, prompts: list[str], prompt: str) -> None:
    """Its own reply comes back."""
    assert reply_text(session, prompt) == f"<<<{prompt}>>>"
    prompts.append(prompt)


def reply_text(session: Session, prompt: str, wait: float = 0.0) -> str:
    time.sleep(wait)
    return session.ask(prompt).result(PATIENCE).text


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Do all of them at the same time, each in a thread; what they give."""
    start, results = threading.Barrier(len(actions)), dict[int, object]()

    def act(number: int, action: Callable[[], object]) -> None:
        start.wait(PATIENCE)
        results[number] = action()

    threads = [threading.Thread(target=act, args=job) for job in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return [results[number] for number in range(len(actions))]


# -- one kernel ------------------------------------------------------------------------------------


def test_the_idle_timer_and_a_prompt_that_meet_lose_nothing_and_never_make_two_processes(
    manager: SessionManager,
) -> None:
    met: Counter[State] = Counter()
    chance, suspending = random.Random(), threading.Event()
    for session, prompts, number in chapters(manager):
        if session.record.idle_timeout is None:
            session.observe(lambda c: suspending.set() if c["new"] is State.SUSPENDING else None, "state")
            session.set_idle_timeout(IDLE)
        # By turns about when the timer runs out, and while the process is being ended.
        if number % 2:
            suspending.wait(PATIENCE)
        time.sleep(chance.uniform(0, 0.04) if number % 2 else IDLE + chance.uniform(-0.02, 0.04))
        met[session.state] += 1
        suspending.clear()
        ask(session, prompts, f"ECHO {number}")
    assert met[State.SUSPENDING], f"the race took place: {met}"


def test_two_prompts_at_once_are_both_answered_whatever_the_session_is_doing(manager: SessionManager) -> None:
    for session, prompts, number in chapters(manager):
        if number % 3 == 1:
            assert session.suspend().result(PATIENCE)
        elif number % 3 == 2:
            session.suspend()
        both = [f"ECHO {number} {who}" for who in "xy"]
        texts = at_once(*(partial(reply_text, session, prompt) for prompt in both))
        assert texts == [f"<<<{prompt}>>>" for prompt in both]
        prompts += both


def test_a_prompt_and_a_suspend_command_at_once_lose_nothing(manager: SessionManager) -> None:
    chance, suspended = random.Random(), 0
    for session, prompts, number in chapters(manager):
        command = partial(commands.run, "suspend", manager, f"'{session.name}'")
        wait = chance.choice([0.0, chance.uniform(0, 0.05)])
        said, text = at_once(command, partial(reply_text, session, f"ECHO {number}", wait))
        assert text == f"<<<ECHO {number}>>>"
        prompts.append(f"ECHO {number}")
        suspended += "is suspended" in str(said)
    assert suspended > 0, "the command won sometimes"


def test_a_stop_that_meets_a_prompt_leaves_a_session_that_answers(manager: SessionManager) -> None:
    chance = random.Random()
    for session, prompts, number in chapters(manager, TRIALS // 3 + 1):
        turn = session.ask(f"ECHO {number}")
        time.sleep(chance.uniform(0, 0.5))
        session.stop().result(PATIENCE)
        assert turn.wait(PATIENCE)
        assert turn.reply is not None
        assert turn.reply.status in ("completed", "interrupted", "cancelled")
        if turn.reply.status == "completed":
            prompts.append(f"ECHO {number}")
    ask(session, [], "ECHO at last")


# -- several kernels -------------------------------------------------------------------------------

# A kernel that does what it is told, one order a line: take, take over, ask, let go.
KERNEL = """
import json, sys, time
from claude_nb.errors import SessionInUse
from claude_nb.session_manager import SessionManager
manager = session = None

def take(name):
    global manager, session
    manager = SessionManager(drain_timeout=1)
    try:
        session = manager.session(name)
    except SessionInUse:
        let_go()
        return "in use"
    return session.id

def take_over(name, prompt):
    while take(name) == "in use":
        time.sleep(0.002)
    return ask(prompt)

def ask(prompt):
    return session.ask(prompt).result(60).text

def let_go():
    manager.shutdown()

print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    order, *words = json.loads(line)
    try:
        answer = globals()[order](*words)
    except Exception as error:
        answer = repr(error)
    print(json.dumps(answer), flush=True)
"""


class Kernel:
    """A process with a manager of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", KERNEL]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.answer() == "ready"

    def tell(self, *order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str | None:
        assert self.process.stdout is not None
        answer: str | None = json.loads(self.process.stdout.readline())
        return answer

    def do(self, *order: str) -> str | None:
        self.tell(*order)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """As a kernel ends: its manager's exit handler runs."""
        if self.process.poll() is None:
            try:
                self.process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture
def kernels(folder: Path) -> Iterator[Callable[[], Kernel]]:
    with ExitStack() as stack:

        def make() -> Kernel:
            kernel = Kernel()
            stack.callback(kernel.end)
            return kernel

        yield make


def race_for(name: str, kernels: list[Kernel]) -> tuple[Kernel, list[Kernel], str]:
    """All of them ask for the session at once: who got it, who did not, and Claude Code's id of it."""
    for kernel in kernels:
        kernel.tell("take", name)
    answers = [kernel.answer() for kernel in kernels]
    winners = [number for number, answer in enumerate(answers) if answer != "in use"]
    assert len(winners) == 1, answers
    conversation = answers[winners[0]]
    assert conversation is not None
    assert len(conversation) == 36, answers
    winner = kernels[winners[0]]
    return winner, [kernel for kernel in kernels if kernel is not winner], conversation


def test_a_name_that_kernels_ask_for_at_once_is_made_for_one_of_them(kernels: Callable[[], Kernel]) -> None:
    crowd = [kernels() for _ in range(3)]
    for number in range(TRIALS):
        winner, _, _ = race_for(f"new {number}", crowd)
        winner.do("let_go")


def test_a_session_has_one_kernel_at_a_time_and_the_next_takes_over_with_all_that_was_said(
    kernels: Callable[[], Kernel],
) -> None:
    crowd = [kernels(), kernels()]
    for first in range(0, TRIALS, CHAPTER):
        name, prompts = f"from {first}", []
        _, _, conversation = race_for(name, crowd)
        for kernel in crowd:
            kernel.do("let_go")
        with Watch(conversation) as watch:
            for number in range(first, min(first + CHAPTER, TRIALS)):
                prompts += hand_over(name, number, crowd, kernels)
        assert watch.most == 1
        assert_all_remembered(conversation, prompts)


def hand_over(name: str, number: int, crowd: list[Kernel], kernels: Callable[[], Kernel]) -> list[str]:
    """One wins and asks; the other waits for it to let go, or to be killed, and asks at once."""
    winner, (loser,), _ = race_for(name, crowd)
    first, second = f"ECHO {number} won", f"ECHO {number} took over"
    assert winner.do("ask", first) == f"<<<{first}>>>"
    loser.tell("take_over", name, second)
    if number % 5 == 4:
        winner.kill()
        crowd[crowd.index(winner)] = kernels()
    else:
        winner.do("let_go")
    assert loser.answer() == f"<<<{second}>>>"
    loser.do("let_go")
    return [first, second]
