"""Items are fetched in the background up to the buffer, in order; errors come in their place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from protime_source.catalogue import ASSIGNMENTS
from protime_source.decode.fast import FastDecoder
from protime_source.sync.context import RunContext
from protime_source.sync.prefetch import BatchPrefetcher, Prefetcher
from tests.units.sync.memory import HTTP, SETTINGS


@dataclass(frozen=True)
class Item:
    number: int
    size: int = 10


class Source(Iterator[Item]):
    """Items, and how many were fetched."""

    def __init__(self, *, end: int = 10**6, error: Exception | None = None) -> None:
        self.fetched, self._end, self._error = 0, end, error

    def __next__(self) -> Item:
        if self.fetched == self._end:
            raise self._error or StopIteration
        self.fetched += 1
        return Item(self.fetched)


def settles(found: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not found() and time.monotonic() < deadline:
        time.sleep(0.001)
    return found()


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "protime-prefetch"]


@pytest.mark.parametrize(("buffer_bytes", "waiting"), [(1, 1), (10, 1), (11, 2), (40, 4)])
def test_items_are_fetched_until_the_buffer_is_full(buffer_bytes: int, waiting: int) -> None:
    source = Source()
    prefetcher = Prefetcher(source, buffer_bytes)
    assert settles(lambda: source.fetched == waiting + 1), "one more is finished, and waits"
    assert next(prefetcher) == Item(1)
    assert settles(lambda: source.fetched == waiting + 2)
    time.sleep(0.02)
    assert source.fetched == waiting + 2
    prefetcher.close()


def test_all_items_come_in_their_order() -> None:
    assert [item.number for item in Prefetcher(Source(end=500), 30)] == [*range(1, 501)]


def test_an_error_is_raised_where_its_item_is_asked_for() -> None:
    prefetcher = Prefetcher(Source(end=2, error=ZeroDivisionError("no third one")), 100)
    assert [next(prefetcher), next(prefetcher)] == [Item(1), Item(2)]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="no third one"):
            next(prefetcher)


def test_a_closed_prefetcher_yields_nothing_and_leaves_no_thread() -> None:
    prefetcher = Prefetcher(Source(), 100)
    next(prefetcher)
    prefetcher.close()
    assert next(prefetcher, None) is None
    assert not prefetch_threads()


@pytest.mark.parametrize(("link", "is_taken"), [("/a", True), ("/b", False)])
def test_a_kept_prefetcher_serves_one_link_once(link: str, is_taken: bool) -> None:
    prefetcher = BatchPrefetcher([], FastDecoder(ASSIGNMENTS), shares=1)
    with RunContext(SETTINGS, HTTP, keeps_prefetchers=True) as run:
        run.keep_prefetcher("assignments", "/a", prefetcher)
        assert (run.take_prefetcher("assignments", link) is prefetcher) == is_taken
        assert run.take_prefetcher("assignments", link) is None
    prefetcher.close()
