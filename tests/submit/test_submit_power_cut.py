"""The process dies at every effect in turn, on disk and on the server: there is always exactly one job."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.errors import (
    Forbidden,
    NotFound,
    ServerFailed,
    Throttled,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from rescalefs.model import JobDetail
from rescalefs.submit import SubmitSettings
from rescalefs.submit.machine import State
from rescalefs.submit.spec import TOKEN
from tests.fakes import FakeClock
from tests.submit.rig import (
    GOOD,
    FakeRescale,
    PowerCut,
    Rig,
    ServerJob,
    drop_files,
    make_settings,
    only,
)

FILES = {"solve.py": b"print(42)\n", "sub/a.dat": b"a", "sub/b.dat": b"b"}


class Points:
    """Counts the points passed, and cuts the power at one of them."""

    def __init__(self, fatal: int | None = None) -> None:
        self.fatal = fatal
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self.fatal:
            raise PowerCut(name)


def life(root: Path, points: Points) -> None:
    """One drop from its folder to the end of its job; after a cut, a new process goes on."""
    clock = FakeClock()
    rescale = FakeRescale(clock, point=points)
    settings_ = make_settings(root, trust_upload=0.0)
    drop_files(settings_.folder / "wing", files=FILES)
    try:
        live(settings_, rescale, clock, points)
    except PowerCut:
        clock.advance(60.0)
        live(settings_, rescale, clock, points)


def live(settings_: SubmitSettings, rescale: FakeRescale, clock: FakeClock, points: Points) -> None:
    """One process, to the end."""
    with Rig(settings_, rescale, clock, points) as rig:
        finish(rig, rescale)
        check(rig, rescale)


def finish(rig: Rig, rescale: FakeRescale) -> None:
    for _ in range(
        150
    ):  # 12 minutes: an answer that does not come is waited for, and what is gone looked for
        rig.turn(5.0)
        for job in rescale.on_server.values():
            if [each.status for each in job.statuses] == ["Pending"]:
                rescale.tell(job.id, "Executing", "Completed")
        if rig.status() == "Completed" and rig.ledger.drops()[0].state is State.COMPLETED:
            return
    raise AssertionError(f"it ended as: {rig.status()}")


def check(rig: Rig, rescale: FakeRescale) -> None:
    job = only(rescale.on_server.values())
    inputs = rescale.inputs(job.id)
    assert inputs["solve.py"] == FILES["solve.py"]
    assert set(inputs) == {"solve.py", "sub.tar"}
    assert rescale.tokens() == [rig.ledger.drops()[0].id]
    assert rig.ledger.job_id("wing") == job.id
    told = [line.partition(":")[0] for line in rig.log()]
    assert [word for word in told if word in {"Pending", "Executing", "Completed"}] == [
        "Pending",
        "Executing",
        "Completed",
    ]


def all_points(root: Path) -> list[str]:
    points = Points()
    life(root, points)
    return points.passed


def test_a_power_cut_at_any_effect_still_ends_in_one_job(tmp_path: Path) -> None:
    names = all_points(tmp_path / "uncut")
    assert {"before create_job", "after create_job", "after CreateBegun", "before Created"} <= set(names)
    for fatal, name in enumerate(names):
        points = Points(fatal)
        life(tmp_path / str(fatal), points)
        assert points.passed[fatal] == name, "the same life has the same points"


@pytest.mark.parametrize(
    "error", [Unreachable("cut"), TimedOut("no answer"), ServerFailed("502 Bad Gateway")]
)
@pytest.mark.parametrize("request_", ["create_job", "submit_job", "upload"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_request_or_answer_still_ends_in_one_job(
    tmp_path: Path, moment: str, request_: str, error: Exception
) -> None:
    def once(name: str, lost: list[str] = []) -> None:  # noqa: B006  # remembers that it happened
        if name == f"{moment} {request_}" and not lost:
            lost.append(name)
            raise error

    clock = FakeClock()
    rescale = FakeRescale(clock, point=once)
    settings_ = make_settings(tmp_path)
    drop_files(settings_.folder / "wing", files=FILES)
    with Rig(settings_, rescale, clock) as rig:
        finish(rig, rescale)
        check(rig, rescale)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_power_cuts_still_ends_in_one_job(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    clock = FakeClock()
    points = Points()
    rescale = FakeRescale(clock, point=points)
    settings_ = make_settings(tmp_path_factory.mktemp("cuts"))
    drop_files(settings_.folder / "wing", files=FILES)
    for cut in [*cuts, None]:
        points.fatal = None if cut is None else len(points.passed) + cut
        with contextlib.suppress(PowerCut):
            live(settings_, rescale, clock, points)


def test_when_creating_is_in_doubt_the_drop_waits_before_it_makes_another(tmp_path: Path) -> None:
    clock = FakeClock()

    def cut(name: str) -> None:
        if name == "before create_job" and clock.monotonic() < 160:
            raise TimedOut("no answer within 60 s")

    rescale = FakeRescale(clock, point=cut)
    settings_ = make_settings(tmp_path)
    drop_files(settings_.folder / "wing", {**GOOD, "name": "wing "})
    with Rig(settings_, rescale, clock) as rig:
        rig.turns(4, 2.0)
        assert rig.ledger.drops()[0].state is State.IN_DOUBT
        looking = "no answer told whether it worked; looking for the job on the server"
        assert rig.status() == f"creating the job: {looking}"
        assert "no answer within 60 s" in rig.log()
        first = rescale.requests.count("create_job")
        rig.turns(3, 2.0)
        assert rescale.requests.count("create_job") == first == 1
        clock.advance(100.0)
        rig.turns(60, 2.0)
        assert rescale.requests.count("create_job") == 2
        assert len(rescale.on_server) == 1


READS = {"statuses", "job", "newest_jobs", "output_files", "file"}


class Missed:
    """One read is 404 once, and the power may go at the next point."""

    def __init__(self, at: int, cut: bool) -> None:
        self.at = at
        self.cut = cut
        self.reads = 0
        self.points = Points()

    def __call__(self, name: str) -> None:
        self.points(name)
        moment, _, what = name.partition(" ")
        if moment == "before" and what in READS:
            self.reads += 1
            if self.reads - 1 == self.at:
                self.points.fatal = len(self.points.passed) if self.cut else None
                raise NotFound("404 Not Found")
        if name == "after create_job":
            raise ServerFailed("504 Gateway Timeout")


@pytest.mark.parametrize("cut", [False, True], ids=["goes on", "dies at the next point"])
def test_a_404_at_any_read_leaves_one_job_that_is_followed_to_its_end(tmp_path: Path, cut: bool) -> None:
    at, count = 0, 1
    while at < count:
        clock, missed = FakeClock(), Missed(at, cut)
        rescale = FakeRescale(clock, point=missed)
        settings_ = make_settings(tmp_path / str(at), trust_upload=0.0)
        drop_files(settings_.folder / "wing", files=FILES)
        try:
            live(settings_, rescale, clock, missed.points)
        except PowerCut:
            clock.advance(60.0)
            live(settings_, rescale, clock, missed.points)
        count, at = missed.reads, at + 1
    assert count >= 5


class Lossy:
    """Loses the answer to every creation, or the request, with the error that is told instead."""

    def __init__(self, moment: str, error: Exception) -> None:
        self.moment = moment
        self.error = error
        self.is_over = False

    def __call__(self, name: str) -> None:
        if name == f"{self.moment} create_job" and not self.is_over:
            raise self.error


def hide_tokens(rescale: FakeRescale, token: str | Exception | None) -> None:
    """A server that shows every job with this token in it, with none, or fails to show it."""
    job = rescale.job

    def shown(job_id: str) -> JobDetail:
        if isinstance(token, Exception):
            raise token
        return replace(job(job_id), env_vars={} if token is None else {TOKEN: token})

    rescale.job = shown  # type: ignore[method-assign]


def rig_with(root: Path, lossy: Lossy) -> tuple[Rig, FakeRescale]:
    clock = FakeClock()
    rescale = FakeRescale(clock, point=lossy)
    drop_files(root / "submit" / "wing", files=FILES)
    return Rig(make_settings(root), rescale, clock), rescale


def test_creating_that_is_never_answered_is_asked_for_five_times_in_an_hour_and_then_by_a_person(
    tmp_path: Path,
) -> None:
    lossy = Lossy("before", TimedOut("no answer within 60 s"))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        rig.turns(720, 5.0)
        assert rescale.requests.count("create_job") == 5
        assert rig.status().startswith("rejected: creating the job was asked for 5 times, and no answer told")
        assert rig.log().count("creating the job") == 5
        asked = len(rescale.requests)
        rig.turns(100, 60.0)
        assert set(rescale.requests[asked:]) <= {"newest_jobs", "job"}, "it looks, and waits for a person"
        lossy.is_over = True
        drop_files(tmp_path / "submit" / "wing", files=FILES)
        finish(rig, rescale)
        check(rig, rescale)


def mended_life(root: Path, points: Points) -> None:
    """A job may not be submitted, a person mends the folder, and the power may go meanwhile."""
    clock = FakeClock()
    rescale = FakeRescale(clock, point=points)
    rescale.refuse_submit = ("license: none left",)
    settings_ = make_settings(root)
    folder = drop_files(settings_.folder / "wing", files=FILES)
    for _ in range(2):
        with contextlib.suppress(PowerCut), Rig(settings_, rescale, clock, points) as rig:
            rig.turns(6, 5.0)
            if rescale.refuse_submit:
                assert rig.status() == "rejected: license: none left"
                assert len(rescale.on_server) == 1
                rescale.refuse_submit = ()
                drop_files(folder, {**GOOD, "name": "mended"}, files=FILES)
            finish(rig, rescale)
            check(rig, rescale)
            assert only(rescale.on_server.values()).definition["name"] == "mended"
            return
        clock.advance(60.0)
    raise AssertionError("the power went twice")


def test_a_power_cut_around_the_mending_of_a_refused_job_leaves_only_the_mended_one(tmp_path: Path) -> None:
    whole = Points()
    mended_life(tmp_path / "uncut", whole)
    names = whole.passed
    first, last = names.index("before Refused"), len(names) - names[::-1].index("after Created")
    assert {"before delete_job", "after delete_job", "before Discarded"} <= set(names[first:last])
    for fatal in range(first, last):
        mended_life(tmp_path / str(fatal), Points(fatal))


@pytest.mark.parametrize("runs", [False, True])
def test_a_job_that_shows_up_after_a_person_mended_the_folder_goes_unless_it_runs(
    tmp_path: Path, runs: bool
) -> None:
    lossy = Lossy("before", TimedOut("no answer within 60 s"))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        rig.turns(720, 5.0)
        assert rig.status().startswith("rejected: creating the job was asked for")
        token = {"envVars": {TOKEN: rig.ledger.drops()[0].id}}
        lossy.is_over = True
        late = rescale.create_job({**GOOD, "jobanalyses": [{**GOOD["jobanalyses"][0], **token}]})
        if runs:
            rescale.tell(late.id, "Pending")
        drop_files(tmp_path / "submit" / "wing", files=FILES)
        rig.turns(30)
        assert rig.status() == "Pending"
        assert (only(rescale.on_server.values()).id == late.id) is runs


def test_a_job_that_shows_up_after_its_drop_was_rejected_is_taken(tmp_path: Path) -> None:
    lossy = Lossy("before", TimedOut("no answer within 60 s"))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        rig.turns(720, 5.0)
        assert rig.status().startswith("rejected: creating the job was asked for")
        token = {"envVars": {TOKEN: rig.ledger.drops()[0].id}}
        lossy.is_over = True
        late = rescale.create_job({**GOOD, "jobanalyses": [{**GOOD["jobanalyses"][0], **token}]})
        rig.turns(80, 60.0)
        assert rig.ledger.job_id("wing") == late.id
        assert only(rescale.on_server.values()).statuses


def test_a_job_whose_token_shows_after_its_drop_was_rejected_is_taken(tmp_path: Path) -> None:
    rig, rescale = rig_with(tmp_path, Lossy("after", ServerFailed("502 Bad Gateway")))
    page = rescale.job
    hide_tokens(rescale, None)
    with rig:
        rig.turns(60, 5.0)
        assert rig.status().startswith("rejected: job job3 was made while the answer")
        rescale.job = page  # type: ignore[method-assign]
        rig.turns(80, 60.0)
        assert only(rescale.on_server.values()).statuses


def test_a_job_that_shows_up_late_is_taken_rather_than_another_made(tmp_path: Path) -> None:
    lossy = Lossy("after", ServerFailed("502 Bad Gateway"))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        hidden: dict[str, ServerJob] = {}
        rig.turns(3)
        hidden.update(rescale.on_server)
        rescale.on_server.clear()
        while rig.ledger.drops()[0].state is State.IN_DOUBT:
            rig.turn()
        lossy.is_over = True
        for job_id in set(rescale.on_server) - set(hidden):
            del rescale.on_server[job_id]
        rescale.on_server.update(hidden)
        finish(rig, rescale)
        check(rig, rescale)


class Lagging(Lossy):
    """Loses the answer to the first creation, and shows its job to no one until it is told to."""

    def __init__(self) -> None:
        super().__init__("after", ServerFailed("502 Bad Gateway"))
        self.on_server: dict[str, ServerJob] = {}
        self.hidden: dict[str, ServerJob] = {}

    def __call__(self, name: str) -> None:
        if name == "after create_job" and not self.is_over:
            self.is_over = True
            self.hidden.update(self.on_server)
            self.on_server.clear()
            raise self.error


def test_a_job_that_shows_up_after_another_was_submitted_stays_saved(tmp_path: Path) -> None:
    lagging = Lagging()
    rig, rescale = rig_with(tmp_path, lagging)
    lagging.on_server = rescale.on_server
    with rig:
        rig.turns(80, 5.0)
        second = only(rescale.on_server.values())
        assert second.statuses
        first = only(lagging.hidden.values())
        rescale.on_server.update(lagging.hidden)
        rig.turns(40, 60.0)
        assert rescale.on_server.keys() == {first.id, second.id}  # a person may have plans with it by now
        assert not first.statuses
        assert rig.ledger.job_id("wing") == second.id


@pytest.mark.parametrize("shown", [None, UnexpectedAnswer("jobs/job3/: no JSON")], ids=["none", "nonsense"])
def test_a_job_of_the_same_name_that_does_not_say_whose_it_is_stops_the_drop(
    tmp_path: Path, shown: Exception | None
) -> None:
    rig, rescale = rig_with(tmp_path, Lossy("after", ServerFailed("502 Bad Gateway")))
    hide_tokens(rescale, shown)
    with rig:
        rig.turns(60, 5.0)
        assert only(rescale.on_server.values()).statuses == []
        assert rig.status().startswith(
            "rejected: job job3 was made while the answer to creating this drop's job"
        )


@pytest.mark.parametrize(
    "shown", ["of another", Forbidden("403"), NotFound("404")], ids=["token", "403", "404"]
)
def test_a_job_of_the_same_name_that_is_anothers_stops_nothing(
    tmp_path: Path, shown: str | Exception
) -> None:
    lossy = Lossy("before", ServerFailed("502 Bad Gateway"))
    rig, rescale = rig_with(tmp_path, lossy)
    hide_tokens(rescale, shown)
    with rig:
        rig.turns(3)
        lossy.is_over = True
        rescale.create_job({**GOOD, "jobanalyses": [{**GOOD["jobanalyses"][0], "envVars": {TOKEN: "x"}}]})
        rig.turns(60, 5.0)
        assert len(rescale.on_server) == 2


def test_a_job_that_the_server_gave_another_name_is_found_by_its_token(tmp_path: Path) -> None:
    lossy = Lossy("after", TimedOut("no answer within 60 s"))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        rig.turns(1)
        rig.survey.everything()
        rig.work()
        only(rescale.on_server.values()).definition["name"] = "wing (1)"
        finish(rig, rescale)
        check(rig, rescale)


def test_a_job_that_was_made_and_answered_with_429_is_found(tmp_path: Path) -> None:
    lossy = Lossy("after", Throttled("429 Too Many Requests", 30.0))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        rig.turns(3)
        assert "429 Too Many Requests" in rig.log()
        assert rig.status() == "creating the job: 429 Too Many Requests, trying again in 30 s"
        finish(rig, rescale)
        check(rig, rescale)


def test_a_server_that_says_429_for_hours_is_asked_again_and_again(tmp_path: Path) -> None:
    lossy = Lossy("before", Throttled("429 Too Many Requests", 600.0))
    rig, rescale = rig_with(tmp_path, lossy)
    with rig:
        rig.turns(400, 30.0)
        assert 15 <= rescale.requests.count("create_job") <= 21, "every ten minutes, as it asks"
        lossy.is_over = True
        rig.turns(25, 30.0)
        finish(rig, rescale)
        check(rig, rescale)
