"""One run for one collection: follow the delta, or walk, and hand the rows to dlt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime

import pyarrow as pa

from protime_source.api.pages import LIFETIME
from protime_source.decode.soft_delete import ghost
from protime_source.decode.tables import ROWS_PER_TABLE
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    NotFoundError,
    ResponseError,
    TooLargeError,
)
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import Extraction
from protime_source.sync.events import EventLog
from protime_source.sync.full_load import Walk
from protime_source.sync.snapshot import Snapshot

logger = logging.getLogger(__name__)

_DEAD = (ExpiredError, BadRequestError, NotFoundError)
"""Answers to a stored link that lead to a new walk. Documented are 409 and 410; but a link whose
window has become too early since, for example, may well be a bad request."""

MAX_WALKS = 5
"""Walks begun in one run before it gives up: a link that dies at once will die again."""


class Sync:
    """One run.

    Args:
        run: What it works with.
    """

    def __init__(self, run: Extraction) -> None:
        self._run = run

    def tables(self, *, full_resync: bool, is_known: bool) -> Iterator[pa.Table | None]:
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
        run, told = self._run, None
        is_told = run.warehouse.exists and is_known
        for table in self._tables(full_resync=full_resync):
            if table is None:
                yield None
            elif table.num_rows:
                told, is_told = run.valid_since, True
                yield table
        if not is_told or told not in (None, run.valid_since):
            # A first table without rows, or rows of an aborted walk and none after it.
            yield run.builder.rows([ghost(run.ticker.after(), run.collection.id_type)])

    def _tables(self, *, full_resync: bool) -> Iterator[pa.Table | None]:
        if not self._run.collection.has_delta:
            yield from self._until_one_gets_through(self._snapshot)
            return
        bookmark = None if full_resync else self._run.bookmark()
        if bookmark is None or bookmark.walking:
            yield from self._resync(bookmark)
            return
        try:
            yield from self._changes(bookmark)
            return
        except _DEAD as error:
            self._explain(error, bookmark)
        except TooLargeError:
            logger.warning(
                "%s: there are more changes since the last run than are read of one answer; a full"
                " walk, which comes in pages, follows.",
                self._run.collection.table,
            )
        yield from self._resync(None)

    def _changes(self, bookmark: Bookmark) -> Iterator[pa.Table | None]:
        """The changes since the last run: requests, rows and bytes are as many as the changes."""
        run = self._run
        run.foreign_until = bookmark.foreign_until
        events = EventLog(run.collection.deleted_status)
        contact, link = run.ticker.after(), bookmark.link
        for page in run.pages(bookmark.link):
            if page is None:
                yield None
                continue
            received = run.decoder.events(page.records)
            events.add(received)
            if run.log is not None:
                run.log.add(received, contact)
            run.counts.add_pages(1, len(received))
            link = page.delta_link or link
        changes = events.apply(run.held(events.ids), contact)
        run.counts.merged, run.counts.marked = len(changes.updated), len(changes.deleted)
        rows = changes.updated + changes.deleted
        for first in range(0, len(rows), ROWS_PER_TABLE):
            yield run.builder.rows(rows[first : first + ROWS_PER_TABLE])
        bookmark.moved(link, walking=False, contact=contact).write(run.state)

    def _resync(self, bookmark: Bookmark | None) -> Iterator[pa.Table | None]:
        """Goes on with a walk, or begins one."""
        self._run.counts.resumed = int(bookmark is not None)
        if bookmark is not None:
            try:
                yield from self._walk(bookmark, self._run.ticker.after(bookmark.walk_start))
                return
            except _DEAD as error:
                self._tell_of_restart(error)
        yield from self._until_one_gets_through(self._walk_from_start)

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
                self._tell_of_restart(error)
        raise failure

    def _tell_of_restart(self, error: ResponseError) -> None:
        logger.warning(
            "%s: the walk starts anew, its link is no longer valid (status %d).",
            self._run.collection.table,
            error.status,
        )

    def _walk_from_start(self) -> Iterator[pa.Table | None]:
        bookmark = self._run.new_walk()
        yield from self._walk(bookmark, bookmark.walk_start)

    def _walk(self, bookmark: Bookmark, received_at: datetime) -> Iterator[pa.Table | None]:
        self._run.valid_since, self._run.foreign_until = received_at, bookmark.foreign_until
        walk = Walk(self._run, bookmark, received_at)
        yield from walk.tables()
        walk.bookmark.write(self._run.state)

    def _snapshot(self) -> Iterator[pa.Table | None]:
        """A walk of a collection that has no delta."""
        run = self._run
        run.valid_since = started = run.ticker.after(run.warehouse.last_received())
        run.note_tenant(started)
        yield from Snapshot(run, started).tables()

    def _explain(self, error: ResponseError, bookmark: Bookmark) -> None:
        """Says why a walk follows; a delta that died young has probably met a rival."""
        unused = self._run.ticker.after() - bookmark.contact
        rival = (
            " It should have lived 72 hours. Unless a full walk of this pipeline was interrupted"
            " or failed since, another consumer has probably started a delta on this collection,"
            " and only one can be active. Give each consumer its own client, or stop the other one."
        )
        logger.warning(
            "%s: the delta is gone (status %d) %d hours after its last use; a full walk follows.%s",
            self._run.collection.table,
            error.status,
            unused.total_seconds() // 3600,
            rival if unused < LIFETIME else "",
        )
