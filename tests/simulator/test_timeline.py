"""Things that happen later."""

from __future__ import annotations

import threading

from rescalefs.background import Background
from rescalefs.simulator.timeline import LONGEST_WAIT, Timeline
from tests.fakes import FakeClock


def test_what_is_due_happens_in_order_and_what_is_cancelled_does_not() -> None:
    clock, background = FakeClock(), Background()
    timeline = Timeline(clock)
    happened: list[str] = []
    done = threading.Event()
    timeline.after(5, lambda: happened.append("late"))
    timeline.after(1, lambda: happened.append("soon"))
    timeline.after(1, lambda: happened.append("as soon, but asked for later"))
    timeline.after(2, lambda: happened.append("never")).cancel()
    timeline.after(LONGEST_WAIT * 3, done.set)
    background.start("timeline", timeline.run)
    assert done.wait(10)
    background_close(background, timeline)
    assert happened == ["soon", "as soon, but asked for later", "late"]


def test_something_asked_for_while_it_waits_still_happens() -> None:
    clock, background = FakeClock(), Background()
    timeline = Timeline(clock)
    background.start("timeline", timeline.run)
    done = threading.Event()
    timeline.after(0, done.set)
    assert done.wait(10)
    background_close(background, timeline)


def background_close(background: Background, timeline: Timeline) -> None:
    """End as the simulator does: `wake` until the thread has seen `stop`, which `close` sets."""
    background._stop.set()
    timeline.wake()
    background.close()
