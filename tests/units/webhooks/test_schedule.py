"""When a run is due: rings are gathered, runs are spaced, failures back off."""

from __future__ import annotations

import threading

import pytest

from protime_source.webhooks.schedule import DEBOUNCE_SECONDS, FIRST_BACKOFF_SECONDS, Due, Schedule

TABLES = ("assignments", "people", "clockings")
EVERY, PAUSE = 900.0, 2.0


class Time:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def schedule(time: Time) -> Schedule:
    """After its first run."""
    schedule = Schedule(TABLES, every=EVERY, pause=PAUSE, clock=time)
    assert schedule.take() == Due("start", TABLES)
    assert schedule.take() is None
    time.now += PAUSE
    return schedule


def test_everything_is_loaded_at_the_interval(schedule: Schedule, time: Time) -> None:
    time.now += EVERY - PAUSE - 0.001
    assert schedule.take() is None
    time.now += 0.002
    assert schedule.take() == Due("interval", TABLES)
    time.now += EVERY
    assert schedule.take() == Due("interval", TABLES)


def test_what_rang_is_loaded_once_the_burst_is_over(schedule: Schedule, time: Time) -> None:
    schedule.ring(["clockings"])
    assert schedule.take() is None
    schedule.ring(["assignments"])
    time.now += DEBOUNCE_SECONDS
    assert schedule.take() == Due("webhook", ("assignments", "clockings"))
    time.now += EVERY / 2
    assert schedule.take() is None


def test_a_flood_does_not_hold_back_the_run(schedule: Schedule, time: Time) -> None:
    for _ in range(10):
        schedule.ring(["people"])
        time.now += DEBOUNCE_SECONDS / 9
    assert schedule.take() == Due("webhook", ("people",))


def test_rings_during_a_run_lead_to_one_further_run(schedule: Schedule, time: Time) -> None:
    schedule.ring(["people"])
    time.now += DEBOUNCE_SECONDS
    assert schedule.take() is not None
    for _ in range(1000):
        schedule.ring(["people"])
    schedule.succeeded()
    time.now += PAUSE
    assert schedule.take() == Due("webhook", ("people",))
    time.now += PAUSE
    assert schedule.take() is None


def test_a_flood_starts_no_more_runs_than_the_pause_allows(schedule: Schedule, time: Time) -> None:
    runs = 0
    for _ in range(10_000):
        schedule.ring(TABLES)
        runs += schedule.take() is not None
        time.now += 0.01
    assert runs == 100 / PAUSE


def test_an_interval_takes_along_what_rang(schedule: Schedule, time: Time) -> None:
    schedule.ring(["people"])
    time.now += EVERY
    assert schedule.take() == Due("interval", TABLES)
    time.now += PAUSE
    assert schedule.take() is None


def test_what_failed_is_tried_again_after_ever_longer_pauses(
    schedule: Schedule, time: Time
) -> None:
    schedule.ring(["people"])
    time.now += DEBOUNCE_SECONDS
    assert schedule.take() is not None
    pauses = []
    for _ in range(12):
        pause = schedule.failed(["people"])
        time.now += pause - 0.001
        assert schedule.take() is None
        time.now += 0.002
        due = schedule.take()
        assert due is not None
        pauses.append(pause)
    assert pauses[:3] == [
        FIRST_BACKOFF_SECONDS,
        2 * FIRST_BACKOFF_SECONDS,
        4 * FIRST_BACKOFF_SECONDS,
    ]
    assert pauses[-1] == EVERY
    schedule.succeeded()
    assert schedule.failed(["people"]) == FIRST_BACKOFF_SECONDS


def test_a_ring_does_not_shorten_the_pause_after_a_failure(schedule: Schedule, time: Time) -> None:
    schedule.failed(["people"])
    schedule.ring(["clockings"])
    time.now += FIRST_BACKOFF_SECONDS - 0.001
    assert schedule.take() is None
    time.now += 0.002
    assert schedule.take() == Due("webhook", ("people", "clockings"))


def test_what_is_not_tried_again_waits_for_the_interval(schedule: Schedule, time: Time) -> None:
    schedule.failed([])
    time.now += EVERY - PAUSE - 1
    assert schedule.take() is None


def test_a_table_that_is_not_kept_up_to_date_starts_nothing(schedule: Schedule, time: Time) -> None:
    schedule.ring(["jobs"])
    time.now += PAUSE
    assert schedule.take() is None


def test_a_ring_and_a_stop_end_the_wait() -> None:
    schedule = Schedule(TABLES, every=EVERY, pause=0)
    assert schedule.wait() == Due("start", TABLES)
    threading.Timer(0.01, schedule.ring, [["people"]]).start()
    assert schedule.wait() == Due("webhook", ("people",))
    assert schedule.wait(until=0) is None
    threading.Timer(0.01, schedule.stop).start()
    assert schedule.wait() is None
    assert schedule.is_stopped
