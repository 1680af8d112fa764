"""A walk read ahead: fetched in one thread, decoded in another, used in a third."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from protime_source.api.pages import Page
from protime_source.decode.fast import TypedDecoder
from protime_source.sync.prefetch import Ahead

BYTES_PER_BATCH = 4 * 2**20
"""JSON of the pages that are decoded at once; it takes four times this in memory."""

ROOM_FETCHED = 8 * 2**20
"""Bytes of pages that wait to be decoded."""

ROOM_DECODED = 32 * 2**20
"""Bytes of columns that wait to be used. They take a third of their JSON: some 250 pages of 1,000
assignments, more than come while a package is loaded, when each takes 100 ms."""


@dataclass(frozen=True)
class Batch:
    """Some pages of a walk.

    Attributes:
        count: How many.
        json_size: Bytes of their JSON.
        next_link: Where the walk goes on after them; `None` after its last page.
        delta_link: Where the changes after the walk will be; only with its last page.
        table: Their documented columns; `None` when they are not as documented.
        pages: The pages themselves in that case.
    """

    count: int
    json_size: int
    next_link: str | None
    delta_link: str | None
    table: pa.Table | None
    pages: Sequence[Page]

    @classmethod
    def of(cls, typed: TypedDecoder, pages: Sequence[Page]) -> Batch:
        """Decodes pages.

        Args:
            typed: Decodes their records, if they are as documented.
            pages: One or more.
        """
        table = typed.table(page.body for page in pages)
        json_size = sum(page.size for page in pages)
        last = pages[-1]
        kept = pages if table is None else ()
        return cls(len(pages), json_size, last.next_link, last.delta_link, table, kept)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.json_size if self.table is None else int(self.table.nbytes)


class Reader(Ahead[Batch]):
    """Reads pages ahead. With an answer time of 100 ms, all else then costs a walk nothing.

    Args:
        pages: Where to take them from.
        typed: Decodes their records.
        shares: How many readers share the room for what waits.
    """

    def __init__(self, pages: Iterable[Page], typed: TypedDecoder, shares: int = 1) -> None:
        self._pages = Ahead(pages, ROOM_FETCHED // shares)
        batches = map(partial(Batch.of, typed), _gathered(self._pages))
        super().__init__(batches, ROOM_DECODED // shares)

    def close(self) -> None:
        """Ends both threads."""
        self._pages.close()
        super().close()


def _gathered(pages: Iterable[Page]) -> Iterator[list[Page]]:
    """Pages in batches: many at once take less time each."""
    batch: list[Page] = []
    missing = BYTES_PER_BATCH
    for page in pages:
        batch.append(page)
        missing -= page.size
        if missing <= 0:
            yield batch
            batch, missing = [], BYTES_PER_BATCH
    if batch:
        yield batch
