"""A run's times only grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from protime_source.sync.clock import MonotonicClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def test_a_time_is_the_machines_unless_that_is_not_later() -> None:
    clock = MonotonicClock(lambda: NOON)
    assert clock.latest is None
    assert clock.after() == NOON
    assert clock.after(NOON - INSTANT, None) == NOON + INSTANT
    assert clock.after(NOON + timedelta(hours=1)) == NOON + timedelta(hours=1) + INSTANT
    assert clock.after() == clock.latest == NOON + timedelta(hours=1) + 2 * INSTANT
    assert clock.now() == NOON


def test_times_are_in_utc() -> None:
    assert MonotonicClock().after().utcoffset() == timedelta(0)
