"""What the collections of a run share."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pytest

from protime_source.api.http import HttpClient
from protime_source.api.pages import Page
from protime_source.sync.context import Limits, PageBatch, RunContext
from protime_source.sync.counts import Counts
from tests.units.sync.memory import HTTP, SETTINGS

PAGES = [Page.read(b'{"value": []}' + b" " * number) for number in range(5)]
SIZE = len(b'{"value": []}')


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(), 5),
        (Limits(max_pages=2), 2),
        (Limits(max_bytes=1), 1),
        (Limits(max_bytes=SIZE), 1),
        (Limits(max_bytes=SIZE + 1), 2),
        (Limits(max_bytes=2 * SIZE + 2), 3),
        (Limits(max_pages=2, max_bytes=10**6), 2),
        (Limits(max_pages=2, max_bytes=1), 1),
    ],
)
def test_a_package_takes_pages_up_to_its_limits_and_requests_no_more(
    limits: Limits, count: int
) -> None:
    pages = iter(PAGES)
    assert list(limits.limited(pages)) == PAGES[:count]
    assert list(pages) == PAGES[count:]


def test_a_batch_takes_the_memory_of_its_columns_or_of_its_pages() -> None:
    columns = pa.table({"id": pa.array([1, 2], pa.int64())})
    assert PageBatch(1, 500, None, "link", columns, ()).size == 16
    assert PageBatch(1, 500, None, "link", None, PAGES).size == 500


@dataclass
class Closable:
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True


class Client(HttpClient):
    """Notes that it is closed."""

    is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True


def test_unless_it_is_told_a_run_is_one_package_that_fails_as_a_whole() -> None:
    run = RunContext(SETTINGS, HTTP)
    assert run.limits == Limits(max_pages=None, max_bytes=None)
    flags = (run.full_resync, run.keeps_prefetchers, run.destination_checked, run.stops_alone)
    assert not any(flags)


def test_what_a_run_keeps_is_closed_with_it() -> None:
    kept, client = [Closable(), Closable()], Client(SETTINGS)
    with RunContext(SETTINGS, client) as run:
        for number, each in enumerate(kept):
            assert not run.keeps(each)
            run.keep_prefetcher(str(number), "/link", each)
        assert all(run.keeps(each) for each in kept)
        assert not any([client.is_closed, *(each.is_closed for each in kept)])
    assert all([client.is_closed, *(each.is_closed for each in kept)])


def test_a_kept_prefetcher_for_another_link_is_closed() -> None:
    run, kept = RunContext(SETTINGS, HTTP), Closable()
    run.keep_prefetcher("people", "/a", kept)
    assert run.take_prefetcher("people", "/b") is None
    assert kept.is_closed
    assert not run.keeps(kept)


def test_mode_and_reason_are_those_of_what_was_loaded_or_else_of_what_is_extracted() -> None:
    run = RunContext(SETTINGS, HTTP)
    assert run.kind("people") == ("", "")
    run.package["people"] = Counts("people", mode="full load", reason="it was asked for")
    assert run.kind("people") == ("full load", "it was asked for")
    run.package_loaded()
    assert not run.package
    run.package["people"] = Counts("people", mode="changes")
    assert run.kind("people") == ("full load", "it was asked for")


def test_packages_of_a_run_add_up() -> None:
    run = RunContext(SETTINGS, HTTP)
    for received in (3, 4):
        run.package["people"] = Counts("people", received=received)
        run.package_loaded()
    assert run.totals["people"].counts["received"] == 7


def test_a_collection_and_scope_have_one_session_whose_requests_are_counted_once() -> None:
    run = RunContext(SETTINGS, HTTP)
    session = run.session("people", "people.read")
    assert run.session("people", "people.read") is session
    assert run.session("people", "all.read") is not session
    assert run.session("teams", "people.read") is not session
    session._request_count = 5
    assert run.new_requests(session) == 5
    session._request_count = 7
    assert (run.new_requests(session), run.new_requests(session)) == (2, 0)
