"""The counts of a run: they add up, and a long run says how far it is."""

from __future__ import annotations

import logging

import pytest

from protime_source.sync.counts import SECONDS_BETWEEN_LINES, Counts, Totals


def test_at_first_nothing_is_counted() -> None:
    counts = Counts("people")
    assert not any(counts.metrics().values())
    assert (counts.mode, counts.reason, counts.expected_rows) == ("", "", 0)
    assert (counts.is_read, counts.continues, counts.first_rows) == (False, False, None)
    assert (Totals().mode, Totals().reason) == ("", "")
    counts.explain("changes")
    assert (counts.mode, counts.reason) == ("changes", "")


def test_what_was_received_is_written_unchanged_or_stale() -> None:
    counts = Counts("people", received=100, inserted=20, updated=10, unchanged=5)
    counts.soft_deleted, counts.vanished = 9, 7  # vanished rows were not received
    assert counts.stale == 100 - 20 - 10 - 5 - 2


def test_a_collection_is_complete_once_it_is_read_and_does_not_go_on() -> None:
    states = [(False, False), (False, True), (True, True), (True, False)]
    complete = [Counts("people", is_read=read, continues=on).is_complete for read, on in states]
    assert complete == [False, False, False, True]


def test_pages_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 101.0])
    counts = Counts("people")
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    counts.add_pages(2, 50)
    counts.add_pages(1, 25)
    assert (counts.pages, counts.received, counts.first_rows) == (3, 75, (100.0, 50))


def test_a_long_run_says_every_few_seconds_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    caplog.set_level(logging.INFO, "protime_source.progress")
    counts = Counts("people", _logged_at=now)
    for passed in (1, SECONDS_BETWEEN_LINES - 1, 1, SECONDS_BETWEEN_LINES):
        now += passed
        counts.add_pages(1, 500)
    assert caplog.messages == ["people: 1,000 rows so far", "people: 2,000 rows so far"]
    assert caplog.records[0].__dict__["counts"] is counts


def test_that_a_collection_begins_is_for_those_who_look_closely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "protime_source.progress")
    counts = Counts("people")
    counts.announce()
    assert [(each.levelno, each.message) for each in caplog.records] == [
        (logging.DEBUG, "people: being read")
    ]
    assert caplog.records[0].__dict__["counts"] is counts


def test_totals_add_up_packages_and_keep_the_first_ones_mode() -> None:
    totals = Totals()
    first = Counts("people", pages=2, received=9, inserted=5, updated=1, requests=3)
    first.explain("full load", "it was asked for")
    second = Counts("people", pages=1, received=4, soft_deleted=2, vanished=1, resumed=1)
    second.explain("full load", "resumed")
    totals.add(first)
    totals.add(second)
    assert (totals.mode, totals.reason) == ("full load", "it was asked for")
    assert totals.counts == {
        "pages": 3,
        "received": 13,
        "inserted": 5,
        "updated": 1,
        "soft_deleted": 2,
        "vanished": 1,
        "unchanged": 0,
        "stale": 6,
        "refused_records": 0,
        "requests": 3,
        "resumed": 1,
    }
