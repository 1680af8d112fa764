"""Pages fetched in the background: requested in one thread, decoded in another, used in a third.

With an answer time of 100 ms a page, everything else then costs a full load nothing.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from protime_source.api.pages import Page
from protime_source.decode.fast import FastDecoder
from protime_source.sync.context import PageBatch, RunContext

BATCH_BYTES = 4 * 2**20
"""JSON of the pages that are decoded together; decoding takes four times this in memory."""

FETCHED_BUFFER_BYTES = 8 * 2**20
"""Pages that wait to be decoded."""

DECODED_BUFFER_BYTES = 32 * 2**20
"""Columns that wait to be used. They take a third of their JSON: about 250 pages of 1,000
assignments, more than arrive while a package is loaded when each takes 100 ms."""

FIRST_LOAD_FACTOR = 2
"""A table's first package takes this many times `max_bytes`, because DuckDB merges into an empty
table at half the memory and time."""


class Sized(Protocol):
    """An item that knows the memory it takes."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...


T = TypeVar("T", bound=Sized)


class Prefetcher(Iterator[T]):
    """Fetches items in a background thread until the buffer is full.

    Args:
        items: The items; an error that they raise is raised where the item is asked for.
        buffer_bytes: Bytes of items that may wait. An item begun before that is finished.
    """

    def __init__(self, items: Iterable[T], buffer_bytes: int) -> None:
        self._items = items
        self._free_bytes = buffer_bytes
        self._waiting: deque[T] = deque()
        self._error: BaseException | None = None
        self._has_ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._fetch, name="protime-prefetch", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        """Returns the next item, as soon as it has arrived."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._has_ended)
            if self._waiting:
                item = self._waiting.popleft()
                self._free_bytes += item.size
                self._change.notify()
                return item
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """Ends the thread, after the item that it is fetching."""
        with self._change:
            self._has_ended = True
            self._waiting.clear()
            self._change.notify()
        self._thread.join()

    def _fetch(self) -> None:
        try:
            for item in self._items:
                with self._change:
                    self._change.wait_for(lambda: self._has_ended or self._free_bytes > 0)
                    if self._has_ended:
                        return
                    self._waiting.append(item)
                    self._free_bytes -= item.size
                    self._change.notify()
        except BaseException as error:
            self._error = error
        finally:
            with self._change:
                self._has_ended = True
                self._change.notify()


class BatchPrefetcher(Prefetcher[PageBatch]):
    """Fetches and decodes the pages of a full load, with one thread for each.

    Args:
        pages: The pages, one request each.
        decoder: Decodes their records.
        shares: How many collections share the buffers.
    """

    def __init__(self, pages: Iterable[Page], decoder: FastDecoder, shares: int) -> None:
        self._pages = Prefetcher(pages, FETCHED_BUFFER_BYTES // shares)
        batches = (decode_pages(decoder, pages) for pages in _grouped(self._pages))
        super().__init__(batches, DECODED_BUFFER_BYTES // shares)

    def close(self) -> None:
        """Ends both threads."""
        self._pages.close()
        super().close()


@dataclass(frozen=True)
class PrefetchedPages:
    """Protime's pages of one collection, fetched in the background.

    Attributes:
        run: The run; it keeps the prefetchers that serve several load packages.
        table_name: The collection's table.
        iter_pages: Requests the pages from a link on, one by one.
        decoder: Decodes the records of a full load.
        is_first_load: Whether the table does not exist yet.
    """

    run: RunContext
    table_name: str
    iter_pages: Callable[[str], Iterator[Page]]
    decoder: FastDecoder
    is_first_load: bool

    @contextmanager
    def open_pages(self, link: str) -> Iterator[Iterator[Page]]:
        """Starts to fetch the pages from a link on."""
        with closing(Prefetcher(self.iter_pages(link), FETCHED_BUFFER_BYTES)) as pages:
            yield pages

    @contextmanager
    def open_batches(self, link: str) -> Iterator[Iterator[PageBatch]]:
        """Starts to fetch the pages of a full load, up to the run's limits.

        When the run keeps prefetchers, the pages after the limit are fetched too, for the next
        load package.
        """
        prefetcher = self.run.take_prefetcher(self.table_name, link) or self._prefetcher(link)
        try:
            yield self._up_to_limit(prefetcher)
        finally:
            if not self.run.keeps(prefetcher):
                prefetcher.close()

    def _prefetcher(self, link: str) -> BatchPrefetcher:
        pages = self.iter_pages(link)
        if not self.run.keeps_prefetchers:
            pages = self.run.limits.limited(pages)
        return BatchPrefetcher(pages, self.decoder, len(self.run.settings.collections))

    def _up_to_limit(self, prefetcher: BatchPrefetcher) -> Iterator[PageBatch]:
        left = self.run.limits.max_bytes or math.inf
        if self.is_first_load:
            left *= FIRST_LOAD_FACTOR
        for batch in prefetcher:
            left -= batch.json_size
            if self.run.keeps_prefetchers and left <= 0 and batch.next_link:
                self.run.keep_prefetcher(self.table_name, batch.next_link, prefetcher)
                yield batch
                return
            yield batch


def decode_pages(decoder: FastDecoder, pages: list[Page]) -> PageBatch:
    """Decodes some pages of a full load.

    Args:
        decoder: Decodes their records, if they are as documented.
        pages: One or more, in their order.
    """
    columns = decoder.decode(page.body for page in pages)
    last = pages[-1]
    return PageBatch(
        page_count=len(pages),
        json_size=sum(page.size for page in pages),
        next_link=last.next_link,
        delta_link=last.delta_link,
        columns=columns,
        pages=pages if columns is None else (),
    )


def _grouped(pages: Iterable[Page]) -> Iterator[list[Page]]:
    """Pages in groups, because many at once take less time each to decode."""
    group: list[Page] = []
    missing = BATCH_BYTES
    for page in pages:
        group.append(page)
        missing -= page.size
        if missing <= 0:
            yield group
            group, missing = [], BATCH_BYTES
    if group:
        yield group
