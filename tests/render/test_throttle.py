"""Pure: the pace of a growing display."""

from __future__ import annotations

import pytest

from claude_nb.render.throttle import PER_KERNEL, PER_SESSION, Budget, Throttle

pytestmark = pytest.mark.pure


def updates(throttle: Throttle, length: int, until: float) -> list[float]:
    """When updates are shown if there is always something new."""
    now, shown = 0.0, []
    while now < until:
        shown.append(now)
        now += throttle.due(now, length)
    return shown


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= time < start + 1 for time in times) for start in times)


def test_a_short_text_is_updated_twelve_times_a_second():
    assert most_in_a_second(updates(Throttle(0.0), 100, 5.0)) == pytest.approx(12, abs=1)


def test_fifty_kilobytes_are_updated_twice_a_second():
    assert len(updates(Throttle(0.0), 50_000, 10.0)) == 20


def test_other_messages_count_towards_the_twenty_of_a_session():
    throttle = Throttle(0.0)
    for _ in range(PER_SESSION - 1):
        throttle.sent(0.0)
    assert throttle.due(0.0, 10) == pytest.approx(1.0)
    assert throttle.due(1.0, 10) == pytest.approx(1 / 12)


def test_many_sessions_share_two_hundred_messages_a_second():
    budget = Budget()
    throttles = [Throttle(0.0, budget) for _ in range(40)]
    next_up = dict.fromkeys(throttles, 0.0)
    times = []
    while len(times) < 1_000:
        throttle = min(next_up, key=lambda each: next_up[each])
        now = next_up[throttle]
        wait = budget.wait(now)
        if wait:
            next_up[throttle] = now + wait
            continue
        times.append(now)
        next_up[throttle] = now + throttle.due(now, 10)
    assert most_in_a_second(times) <= PER_KERNEL < 200


def test_it_says_how_it_stands():
    assert repr(Budget(5)) == "<Budget: 0 of 5>"
    assert repr(Throttle(2.0)) == "<Throttle: last shown at 2.00>"
