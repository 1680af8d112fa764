"""One run for one collection: the decision what to load, and the rows to merge.

The engine works on the interfaces of `sync.context` alone, so that it runs in memory as it runs
against Protime and a warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, datetime

import pyarrow as pa

from protime_source.api.pages import LIFETIME
from protime_source.decode.soft_delete import placeholder_row
from protime_source.decode.tables import ROWS_PER_BATCH
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    NotFoundError,
    ProtimeError,
    ResponseError,
    TooLargeError,
)
from protime_source.sync.bookmark import Bookmark, BookmarkScope
from protime_source.sync.context import CollectionContext
from protime_source.sync.counts import progress
from protime_source.sync.events import EventReducer
from protime_source.sync.full_load import FullLoad
from protime_source.sync.snapshot import SnapshotDiff

logger = logging.getLogger(__name__)

MAX_FULL_LOADS = 5
"""Full loads started in one run before it fails: a link that expires at once will expire again."""


class CollectionSync:
    """One run for one collection.

    Args:
        context: The collection and what it works with.

    Attributes:
        ignore_live_rows_before: Live rows of this package that were synced before (UTC) belong to
            a full load that was restarted; the merge must leave them out.
    """

    def __init__(self, context: CollectionContext) -> None:
        self.context = context
        self.ignore_live_rows_before: datetime | None = None

    def batches(self, *, table_is_known: bool) -> Iterator[pa.Table | None]:
        """Follows the delta, resumes a full load, starts one, or compares a snapshot.

        Args:
            table_is_known: Whether dlt's schema has the table already.

        Yields:
            `None` each time that a first request is on its way and the caller may turn to other
            collections; then batches of rows to merge. Once all are taken, the bookmark is
            written.

        Raises:
            ProtimeError: When the run fails; nothing of it may be loaded then.
        """
        merged_with, table_is_known = None, table_is_known and self.context.stored.exists
        for batch in self._decide():
            if batch is None:
                yield None
            elif batch.num_rows:
                merged_with, table_is_known = self.ignore_live_rows_before, True
                yield batch
        # dlt creates a table with its first row, and merges with the filter of its last batch: an
        # empty table, and the rows of a full load that was restarted, need one more row.
        if not table_is_known or merged_with not in (None, self.ignore_live_rows_before):
            context = self.context
            placeholder = placeholder_row(context.clock.after(), context.collection.id_type)
            yield context.builder.from_rows([placeholder])

    def _decide(self) -> Iterator[pa.Table | None]:
        """The decision of a run. A link that has expired leads to a full load in the same run."""
        bookmark = self._usable_bookmark()
        self.context.counts.resumed = int(bookmark is not None and bookmark.full_load_in_progress)
        full_loads = 0
        while True:
            try:
                if not self.context.collection.has_delta:
                    full_loads += 1
                    yield from self._compare_snapshot()
                elif bookmark is None:
                    full_loads += 1
                    yield from self._load_fully(self._new_bookmark())
                elif bookmark.full_load_in_progress:
                    yield from self._load_fully(bookmark)
                else:
                    yield from self._follow_delta(bookmark)
                return
            except (ResponseError, TooLargeError) as error:
                if not _leads_to_full_load(error, bookmark) or full_loads == MAX_FULL_LOADS:
                    raise
                logger.warning("%s: %s", self._table_name, self._explanation(error, bookmark))
                bookmark = None

    def _follow_delta(self, bookmark: Bookmark) -> Iterator[pa.Table | None]:
        """The changes since the last run; requests, rows and bytes are as many as the changes."""
        context = self.context
        events = EventReducer(context.collection.deleted_status)
        requested_at, link = context.clock.after(), bookmark.link
        with context.pages.open_pages(bookmark.link) as pages:
            yield None
            for page in pages:
                received = context.decoder.events(page.records)
                events.add(received)
                if context.history is not None:
                    context.history.add(received, requested_at)
                context.counts.add_pages(1, len(received))
                link = page.delta_link or link
        changes = events.apply(context.stored.rows(events.ids), requested_at)
        context.counts.merged = len(changes.updated)
        context.counts.soft_deleted = len(changes.deleted)
        rows = changes.updated + changes.deleted
        for first in range(0, len(rows), ROWS_PER_BATCH):
            yield context.builder.from_rows(rows[first : first + ROWS_PER_BATCH])
        bookmark.advanced(link, full_load_in_progress=False, requested_at=requested_at).write(
            context.state
        )

    def _load_fully(self, bookmark: Bookmark) -> Iterator[pa.Table | None]:
        """A full load, from its start or resumed, up to the run's limits."""
        context = self.context
        self.ignore_live_rows_before = context.clock.after(bookmark.full_load_start)
        full_load = FullLoad(context, bookmark, self.ignore_live_rows_before)
        yield from full_load.batches()
        full_load.bookmark.write(context.state)

    def _compare_snapshot(self) -> Iterator[pa.Table | None]:
        """All of a collection that has no delta, of which only the difference is merged."""
        context = self.context
        self.ignore_live_rows_before = context.clock.after(context.stored.last_synced_at())
        yield from SnapshotDiff(context, self.ignore_live_rows_before).batches()

    def _usable_bookmark(self) -> Bookmark | None:
        """The bookmark, if it is valid for this window and warehouse and no resync is asked for."""
        context = self.context
        bookmark = Bookmark.read(context.state)
        if bookmark is None or bookmark.is_invalidated or context.run.full_resync:
            return None
        if not context.stored.exists:
            return None
        start_is_default = context.run.settings.start_date is None
        changes = bookmark.scope_changes(self._scope(), start_is_default=start_is_default)
        if changes:
            progress.info(
                "%s: the last run was for another %s", self._table_name, " and ".join(changes)
            )
            return None
        return bookmark

    def _new_bookmark(self) -> Bookmark:
        """A bookmark for a full load from the start.

        Raises:
            SettingsError: When Protime starts no delta so early.
        """
        context, start = self.context, self._window_start()
        if start is not None:
            context.run.settings.check_window()
            if start > date.today():
                logger.warning(
                    "%s: rows before start_date, %s, are not loaded", self._table_name, start
                )
        started_at = context.clock.after(context.stored.last_synced_at()).isoformat()
        window = f" from {start} on" if start else ""
        progress.info("%s: a full load%s", self._table_name, window)
        return Bookmark(
            self._scope(),
            link=context.collection.delta_start(start),
            full_load_in_progress=True,
            full_load_started_at=started_at,
            live_rows_at_start=context.stored.count_live_rows(
                context.collection.date_column, start
            ),
            link_requested_at=started_at,
        )

    def _scope(self) -> BookmarkScope:
        start = self._window_start()
        return BookmarkScope(
            self.context.stored.fingerprint,
            start.isoformat() if start else "",
            self.context.collection.column_selection,
        )

    def _window_start(self) -> date | None:
        """First day of the date filter, where the collection has one."""
        has_window = bool(self.context.collection.date_column)
        return self.context.run.settings.window_start() if has_window else None

    def _explanation(self, error: ProtimeError, bookmark: Bookmark | None) -> str:
        """Why a full load follows. A delta that expired early was probably replaced."""
        if isinstance(error, TooLargeError):
            return (
                "the changes since the last run are more than is read of one answer; a full load,"
                " which comes in pages, follows."
            )
        status = error.status if isinstance(error, ResponseError) else 0
        if bookmark is None or bookmark.full_load_in_progress:
            return f"the full load is restarted because its link is no longer valid ({status})."
        unused = self.context.clock.after() - bookmark.link_requested
        other_consumer = (
            " It should have lived 72 hours. Unless a full load of this pipeline was interrupted or"
            " failed since, another consumer has probably started a delta on this collection, and"
            " only one can be active. Give each consumer its own client, or stop the other one."
        )
        return (
            f"the delta is gone (status {status}) {unused.total_seconds() // 3600:.0f} hours after"
            f" its last use; a full load follows.{other_consumer if unused < LIFETIME else ''}"
        )

    @property
    def _table_name(self) -> str:
        return self.context.collection.table


def _leads_to_full_load(error: ProtimeError, bookmark: Bookmark | None) -> bool:
    """Whether an error is answered by a full load from the start.

    Documented for a stored link are 409 and 410; but a link whose window has become too early
    since, for example, may well be answered by 400 or 404. For a link of this very run, 400 or 404
    means that something else is wrong.
    """
    if bookmark is None:
        return isinstance(error, ExpiredError)
    if isinstance(error, TooLargeError):
        return not bookmark.full_load_in_progress
    return isinstance(error, ExpiredError | BadRequestError | NotFoundError)
