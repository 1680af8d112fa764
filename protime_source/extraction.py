"""One run for one collection: follow the delta, or walk, and hand the rows to dlt."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from protime_source.ahead import Ahead, alone, served
from protime_source.bookmark import Bookmark, Origin, Ticker
from protime_source.changelog import ChangeLog
from protime_source.changes import EventLog
from protime_source.collections import Collection
from protime_source.counts import Counts, progress
from protime_source.delta import LIFETIME, Delta, Page, Part
from protime_source.errors import ExpiredError, TooLargeError
from protime_source.reader import ROOM_FETCHED, Batch, Reader
from protime_source.records import RecordDecoder, Row
from protime_source.session import Session
from protime_source.settings import Settings
from protime_source.snapshot import Snapshot
from protime_source.tables import ROWS_PER_TABLE, TableBuilder, ghost
from protime_source.transport import Transport
from protime_source.walk import Walk
from protime_source.warehouse import Warehouse

logger = logging.getLogger(__name__)

MAX_WALKS = 5
"""Walks begun in one run before it gives up: a link that dies at once will die again."""

FIRST = 2
"""A table's first load takes so many times as much of a walk: DuckDB merges that at half the memory
and time."""


@dataclass
class Extraction:
    """What a run works with, and the run itself.

    Attributes:
        collection: What is loaded.
        settings: How.
        session: What it shares with other loads.
        transport: From where.
        warehouse: Where to.
        decoder: Decodes its records.
        builder: Makes Arrow tables of them.
        state: The resource's state, which dlt commits with the rows.
        counts: What was done, for people.
        part: How much of a walk to take; the next run goes on there.
        log: Where to note every event, if that is wanted.
        is_alone: Whether no other collection could be served while this one waits.
        ticker: Tells the times.
        valid_since: Live rows received before (UTC) belong to a walk that was begun anew.
        foreign_until: Rows received before (UTC) are another tenant's: their versions mean nothing.
    """

    collection: Collection
    settings: Settings
    session: Session
    transport: Transport
    warehouse: Warehouse
    decoder: RecordDecoder
    builder: TableBuilder
    state: MutableMapping[str, Any]
    counts: Counts
    part: Part
    log: ChangeLog | None = None
    is_alone: Callable[[], bool] = alone
    ticker: Ticker = field(default_factory=Ticker, init=False)
    valid_since: datetime | None = field(default=None, init=False)
    foreign_until: datetime | None = field(default=None, init=False)

    def pages(self, link: str) -> Iterator[Page | None]:
        """The pages from a link on, fetched ahead; `None` while others can be served.

        Args:
            link: Where to begin.
        """
        with closing(Ahead(self._follow(link), ROOM_FETCHED)) as pages:
            yield from served(pages, self.is_alone)

    def batches(self, link: str) -> Iterator[Batch | None]:
        """A part of a walk, read ahead; `None` while others can be served.

        What was read after it waits for the next load, where the session has one.

        Args:
            link: Where to begin.
        """
        left = self.part.max_bytes or math.inf
        if self.session.reads_on and not self.warehouse.exists:
            left *= FIRST
        reader = self.session.take(self.collection.table, link) or self._reader(link)
        with ExitStack() as failing:
            failing.callback(reader.close)
            for batch in served(reader, self.is_alone):
                yield batch
                if batch is None:
                    continue
                left -= batch.json_size
                if self.session.reads_on and left <= 0 and batch.next_link:
                    self.session.keep(self.collection.table, batch.next_link, reader)
                    failing.pop_all()
                    return

    def _reader(self, link: str) -> Reader:
        pages = self._follow(link)
        limited = pages if self.session.reads_on else self.part.of(pages)
        return Reader(limited, self.decoder.typed, len(self.settings.collections))

    def _follow(self, link: str) -> Iterator[Page]:
        return Delta(self.transport, self.collection).follow(link)

    def held(self, ids: Sequence[Any]) -> dict[Any, Row]:
        """The last-known rows of some ids; what another tenant's versions say is nothing."""
        rows = self.warehouse.rows(ids)
        for row in rows.values():
            if self.foreign_until and row["synced_at"] < self.foreign_until:
                row["change_version"] = ""
        return rows

    def tables(
        self, *, full_resync: bool = False, is_known: bool = True
    ) -> Iterator[pa.Table | None]:
        """Does what is due: goes on with a walk, follows the delta, or walks from the start.

        Args:
            full_resync: Walk from the start, whatever the bookmark says.
            is_known: Whether dlt's schema has the table; if not, it gets to know it.

        Yields:
            Tables of rows to merge. When all are taken, the bookmark is written. `None` while
            others can be served.

        Raises:
            ProtimeError: When it cannot be done; nothing of it may be loaded then.
        """
        told: datetime | None = None
        is_told = self.warehouse.exists and is_known
        for table in self._tables(full_resync=full_resync):
            if table is None:
                yield None
            elif table.num_rows:
                told, is_told = self.valid_since, True
                yield table
        if not is_told or told not in (None, self.valid_since):
            # A first table without rows, or rows of an aborted walk and none after it.
            yield self.builder.rows([ghost(self.ticker.after(), self.collection.id_type)])

    def _tables(self, *, full_resync: bool) -> Iterator[pa.Table | None]:
        if not self.collection.has_delta:
            yield from self._until_one_gets_through(self._snapshot)
            return
        bookmark = None if full_resync else self._bookmark()
        if bookmark is None or bookmark.walking:
            yield from self._resync(bookmark)
            return
        try:
            yield from self._changes(bookmark)
            return
        except ExpiredError as error:
            self._explain(error, bookmark)
        except TooLargeError:
            logger.warning(
                "%s: there are more changes since the last run than are read of one answer; a full"
                " walk, which comes in pages, follows.",
                self.collection.table,
            )
        yield from self._resync(None)

    def _bookmark(self) -> Bookmark | None:
        """The bookmark, if it belongs to this tenant, window and warehouse."""
        bookmark = Bookmark.read(self.state)
        is_default = self.settings.start_date is None
        if bookmark is None or not self.warehouse.exists:
            return None
        if other := bookmark.differs(self._origin(), start_is_default=is_default):
            table = self.collection.table
            progress.info("%s: the last run was for another %s", table, " and ".join(other))
            return None
        return bookmark

    def _origin(self) -> Origin:
        start = self._start()
        return Origin(
            f"{self.settings.api_origin} {self.settings.tenant}",
            self.warehouse.fingerprint,
            start.isoformat() if start else "",
            self.collection.shape,
        )

    def _start(self) -> date | None:
        """First day of the date filter, where the collection has one."""
        return self.settings.window_start() if self.collection.date_column else None

    def _changes(self, bookmark: Bookmark) -> Iterator[pa.Table | None]:
        """The changes since the last run: requests, rows and bytes are as many as the changes."""
        self.foreign_until = bookmark.foreign_until
        events = EventLog(self.collection.deleted_status)
        contact, link = self.ticker.after(), bookmark.link
        for page in self.pages(bookmark.link):
            if page is None:
                yield None
                continue
            received = self.decoder.events(page.records)
            events.add(received)
            if self.log is not None:
                self.log.add(received, contact)
            self.counts.add_pages(1, len(received))
            link = page.delta_link or link
        changes = events.apply(self.held(events.ids), contact)
        self.counts.merged, self.counts.marked = len(changes.updated), len(changes.deleted)
        rows = changes.updated + changes.deleted
        for first in range(0, len(rows), ROWS_PER_TABLE):
            yield self.builder.rows(rows[first : first + ROWS_PER_TABLE])
        bookmark.moved(link, walking=False, contact=contact).write(self.state)

    def _resync(self, bookmark: Bookmark | None) -> Iterator[pa.Table | None]:
        """Goes on with a walk, or begins one."""
        self.counts.resumed = int(bookmark is not None)
        begun = iter([bookmark])
        yield from self._until_one_gets_through(lambda: self._walk(next(begun, None)))

    def _until_one_gets_through(
        self, walk: Callable[[], Iterator[pa.Table | None]]
    ) -> Iterator[pa.Table | None]:
        """A walk whose link has died is begun anew."""
        for _ in range(MAX_WALKS):
            try:
                yield from walk()
                return
            except ExpiredError as error:
                failure = error
                logger.warning(
                    "%s: the walk starts anew, its link is no longer valid (status %d).",
                    self.collection.table,
                    error.status,
                )
        raise failure

    def _walk(self, bookmark: Bookmark | None) -> Iterator[pa.Table | None]:
        if bookmark is None:
            bookmark = self._new_walk()
            received_at = bookmark.walk_start
        else:
            received_at = self.ticker.after(bookmark.walk_start)
        self.valid_since, self.foreign_until = received_at, bookmark.foreign_until
        walk = Walk(self, bookmark, received_at)
        yield from walk.tables()
        walk.bookmark.write(self.state)

    def _new_walk(self) -> Bookmark:
        """A bookmark for a walk from the start."""
        start, live = self._start(), 0
        if start is not None:
            self.settings.check_window()
            if start > date.today():
                table = self.collection.table
                logger.warning("%s: what is before start_date, %s, is not loaded", table, start)
        newest: datetime | None = None
        if self.warehouse.exists:
            live = self.warehouse.live_from(self.collection.date_column, start)
            newest = self.warehouse.last_received()
        started = self.ticker.after(newest).isoformat()
        stored = Bookmark.read(self.state)
        is_foreign = stored is not None and stored.origin.tenant != self._origin().tenant
        foreign = started if is_foreign else stored.foreign_before if stored else ""
        window = f" from {start} on" if start else ""
        progress.info("%s: a full walk%s", self.collection.table, window)
        link = self.collection.delta_start(start)
        return Bookmark(self._origin(), link, True, started, live, started, foreign)

    def _snapshot(self) -> Iterator[pa.Table | None]:
        """A walk of a collection that has no delta, and so nothing to remember."""
        newest = self.warehouse.last_received() if self.warehouse.exists else None
        self.valid_since = self.ticker.after(newest)
        yield from Snapshot(self, self.valid_since).tables()

    def _explain(self, error: ExpiredError, bookmark: Bookmark) -> None:
        """Says why a walk follows; a delta that died young has probably met a rival."""
        unused = self.ticker.after() - bookmark.contact
        rival = (
            " It should have lived 72 hours. Unless a full walk of this pipeline was interrupted"
            " or failed since, another consumer has probably started a delta on this collection,"
            " and only one can be active. Give each consumer its own client, or stop the other one."
        )
        logger.warning(
            "%s: the delta is gone (status %d) %d hours after its last use; a full walk follows.%s",
            self.collection.table,
            error.status,
            unused.total_seconds() // 3600,
            rival if unused < LIFETIME else "",
        )
