"""Pure: the table of states."""

from __future__ import annotations

import pytest

from claude_nb.state import ALIVE, ASLEEP, READY, WORKING, Event, IllegalTransition, State, next_state

pytestmark = pytest.mark.pure


def walk(*events: Event, start: State = State.CREATED) -> State:
    state = start
    for event in events:
        state = next_state(state, event)
    return state


def test_a_first_prompt_starts_a_process_and_ends_idle() -> None:
    assert walk(Event.START, Event.READY, Event.PROMPT) is State.BUSY
    assert walk(Event.START, Event.READY, Event.PROMPT, Event.RESULT) is State.IDLE


def test_a_suspended_session_starts_again_on_the_next_prompt() -> None:
    asleep = walk(Event.START, Event.READY, Event.SUSPEND, Event.ENDED)
    assert asleep is State.SUSPENDED
    assert walk(Event.START, Event.READY, start=asleep) is State.IDLE


def test_a_turn_that_was_interrupted_leaves_the_session_idle() -> None:
    assert walk(Event.INTERRUPT, Event.INTERRUPT, Event.RESULT, start=State.BUSY) is State.IDLE


@pytest.mark.parametrize("state", sorted(ALIVE - {State.SUSPENDING, State.STOPPING}))
def test_a_process_that_ends_unasked_leaves_the_session_dead_and_it_can_start_again(state: State) -> None:
    assert walk(Event.EXITED, Event.START, start=state) is State.STARTING


@pytest.mark.parametrize("state", sorted(set(State) - {State.STOPPING, State.STOPPED}))
def test_every_state_can_be_stopped(state: State) -> None:
    assert walk(Event.STOP, Event.ENDED, start=state) is State.STOPPED


@pytest.mark.parametrize("state", [State.BUSY, State.INTERRUPTING, State.STARTING])
def test_a_session_that_works_is_never_suspended(state: State) -> None:
    with pytest.raises(IllegalTransition, match="cannot take the event suspend"):
        next_state(state, Event.SUSPEND)


def test_nothing_is_written_to_a_session_that_is_busy() -> None:
    with pytest.raises(IllegalTransition):
        next_state(State.BUSY, Event.PROMPT)


def test_the_named_sets_cover_every_state_once() -> None:
    assert set(State) == ALIVE | ASLEEP
    assert not ALIVE & ASLEEP
    assert WORKING < ALIVE
    assert READY < ALIVE
