from __future__ import annotations

from datetime import UTC, datetime, timedelta

from protime_source.demo import Clock


def test_starts_at_now_in_utc() -> None:
    assert (
        timedelta(0)
        <= datetime.now(UTC) - Clock().now() + timedelta(seconds=1)
        < timedelta(seconds=2)
    )


def test_advance() -> None:
    clock = Clock()
    before = clock.now()
    clock.advance(days=1, hours=73, seconds=5)
    assert timedelta(0) <= clock.now() - before - timedelta(hours=97, seconds=5) < timedelta(0, 1)


def test_the_year_turns_only_with_that_of_the_machine() -> None:
    """The earliest start of a delta depends on it, and a client asks for that by its own date."""
    clock = Clock()
    clock.advance(days=400)
    assert clock.today() == Clock().today()
    assert clock.now().year > clock.today().year
