from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.model import Result
from rescalefs.submit import machine
from rescalefs.submit.machine import EVENTS, TRANSITIONS, AnyEvent, Drop, Event, OutOfPlace, State, step

AT = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)

SAMPLES: tuple[Event, ...] = (
    machine.Found("wing", 7, 8),
    machine.Moved("wing-2", 7, 8),
    machine.Vanished(),
    machine.Doubted("token", "drop wing, which has job abc", "mark"),
    machine.Cleared(),
    machine.Settled("print", "mark"),
    machine.Changed(),
    machine.Missing(("mesh.msh",)),
    machine.Refused(("it is wrong",)),
    machine.Accepted("wing", 2, 10, ("empty: a",), hold=True),
    machine.Uploaded('{"name": "wing"}'),
    machine.CreateBegun(),
    machine.NotCreated("429"),
    machine.Created("abc"),
    machine.Discarded("abc"),
    machine.Released(),
    machine.Submitted(AT),
    machine.Edited("mark-2"),
    machine.StatusSeen("Executing", AT),
    machine.StopAsked(),
    machine.Completed(3, 100, 5.0),
    machine.Failed(3, 100),
    machine.Stopped(0, 0),
    machine.Announced("ran it"),
    machine.Lost(),
    machine.Returned(),
    machine.SavedAgain(),
)


def test_there_is_a_sample_of_every_event() -> None:
    assert {type(each) for each in SAMPLES} == set(EVENTS)


def test_every_state_is_reached_and_every_event_happens_somewhere() -> None:
    reached = {State.UNSEEN}
    while more := {after for (state, _), after in TRANSITIONS.items() if state in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(EVENTS)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", SAMPLES, ids=lambda each: type(each).__name__)
def test_every_event_is_defined_or_refused_in_every_state(state: State, event: Event) -> None:
    drop = Drop("id", 3, state)
    expected = TRANSITIONS.get((state, type(event)))
    if expected is None:
        with pytest.raises(OutOfPlace, match=f"{type(event).__name__} does not happen to a drop that is"):
            step(drop, event)
    else:
        after = step(drop, event)
        assert (after.state, after.number, after.id) == (expected, 4, "id")


def test_nothing_follows_an_end_but_that_it_is_announced_or_taken_back_and_what_people_do_to_the_folder() -> (
    None
):
    ends_stay = {machine.Moved, machine.Vanished, machine.Edited, machine.Announced}
    for (state, event), after in TRANSITIONS.items():
        if state.is_terminal and event not in {machine.Returned, machine.SavedAgain}:
            assert after is state
            assert event in ends_stay
    assert TRANSITIONS[State.DELETED, machine.SavedAgain] is State.SAVED
    for state in filter(lambda each: each.is_terminal, State):
        assert TRANSITIONS[state, machine.Returned] is State.RUNNING


def test_the_newest_status_by_the_servers_time_counts_in_whatever_order_they_are_seen() -> None:
    drop = Drop("id", 3, State.RUNNING)
    late = machine.StatusSeen("Executing", AT + timedelta(seconds=60))
    drop = step(step(drop, late), machine.StatusSeen("Queued", AT))
    assert (drop.status, drop.newest) == ("Executing", late.date)
    assert [word for word, _ in drop.seen] == ["Executing", "Queued"]


def test_a_job_is_created_only_by_way_of_doubt_so_no_attempt_goes_unrecorded() -> None:
    ways_in = {(state, event) for (state, event), after in TRANSITIONS.items() if after is State.SAVED}
    # To a rejected drop it happens only when the job of an earlier attempt is found by its token.
    assert {state for state, event in ways_in if event is machine.Created} == {State.IN_DOUBT, State.REJECTED}
    ways_out = {event for (state, event) in TRANSITIONS if state is State.IN_DOUBT}
    assert machine.Changed not in ways_out, "a change of the folder does not end the doubt"


@given(st.lists(st.sampled_from(SAMPLES), max_size=30))
def test_a_drop_that_has_its_job_is_never_created_again_unless_that_job_was_discarded(
    events: list[Event],
) -> None:
    drop = step(Drop("id"), SAMPLES[0])
    jobs = 0
    for event in events:
        if (drop.state, type(event)) not in TRANSITIONS:
            continue
        if isinstance(event, machine.Submitted) and drop.job_id is None:
            continue  # there is none that could be
        if isinstance(event, machine.Created):
            jobs += 1
        if isinstance(event, machine.Discarded):
            jobs -= drop.job_id is not None
        drop = step(drop, event)
        assert drop.state is not State.SUBMITTING or drop.job_id is not None
    assert drop.job_id is None or jobs >= 1


@pytest.mark.parametrize("event", SAMPLES, ids=lambda each: type(each).__name__)
def test_every_event_comes_back_from_json_as_it_was(event: Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent) == event


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Result.SUCCEEDED, machine.Completed),
        (Result.FAILED, machine.Failed),
        (Result.STOPPED, machine.Stopped),
        (Result.UNKNOWN, machine.Failed),
    ],
)
def test_what_is_not_known_to_have_worked_is_no_success(result: Result, expected: type[Event]) -> None:
    assert isinstance(machine.ending(result)(0, 0), expected)


def test_a_drop_knows_how_many_analyses_its_job_has() -> None:
    drop = machine.Uploaded('{"jobanalyses": [{}, {"command": "x"}], "name": "wing"}').told(Drop("1"))
    assert drop.analyses == 2
    assert machine.Uploaded("no JSON").told(Drop("1")).analyses == 1


def test_the_picture_in_the_documentation_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "submitting.md"
    (drawn,) = re.findall(r"```mermaid\n(.*?)\n```", page.read_text(), flags=re.DOTALL)
    assert drawn == machine.picture()
