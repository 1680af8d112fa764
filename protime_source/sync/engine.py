"""One run for one collection: the decision what to load, and the rows to merge.

The engine works on the interfaces of `sync.context` alone, so that it runs in memory as it runs
against Protime and a warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime

import pyarrow as pa

from protime_source.api.pages import LIFETIME
from protime_source.decode.soft_delete import Row, placeholder_row
from protime_source.decode.tables import ROWS_PER_BATCH
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    IncompleteFullLoadError,
    NotFoundError,
    ProtimeError,
    ResponseError,
    TooLargeError,
    UnknownChangeError,
)
from protime_source.sync.bookmark import Bookmark, BookmarkScope
from protime_source.sync.context import CollectionContext
from protime_source.sync.counts import progress
from protime_source.sync.events import EventReducer
from protime_source.sync.full_load import FullLoad
from protime_source.sync.snapshot import SnapshotDiff

logger = logging.getLogger(__name__)

_OTHER_CONSUMER = (
    " It should have lived 72 hours. Unless a full load of this pipeline was interrupted or failed"
    " since, another consumer has probably started a delta on this collection, and only one can be"
    " active. Give each consumer its own client, or stop the other one."
)

MAX_FULL_LOADS = 5
"""Full loads started in one run before it fails: a link that expires at once will expire again."""


class CollectionSync:
    """One run for one collection.

    Args:
        context: The collection and what it works with.

    Attributes:
        ignore_live_rows_before: Live rows of this package that were synced before (UTC) belong to
            a full load that was restarted; the merge must leave them out. `None` when none was,
            because dlt keeps each new filter, with its schema, in the warehouse; but it creates a
            table or column that somebody has dropped only for a schema that it has not kept.
    """

    def __init__(self, context: CollectionContext) -> None:
        self.context = context
        self.ignore_live_rows_before: datetime | None = None
        self._has_rows = False
        self._warned_of = ""

    def batches(self, *, table_is_known: bool) -> Iterator[pa.Table | None]:
        """Follows the delta, resumes a full load, starts one, or compares a snapshot.

        Args:
            table_is_known: Whether dlt's schema has the table already.

        Yields:
            `None` each time that the caller may turn to other collections: before a first request,
            and when it is on its way; then batches of rows to merge. Once all are taken, the
            bookmark is written.

        Raises:
            ProtimeError: When the run fails; nothing of it may be loaded then.
        """
        merged_with = self.ignore_live_rows_before
        table_is_known = table_is_known and self.context.stored.exists
        try:
            for batch in self._decide():
                if batch is None:
                    yield None
                elif batch.num_rows:
                    merged_with = self.ignore_live_rows_before
                    self._has_rows = table_is_known = True
                    yield batch
        except ProtimeError:
            self._note_rows_without_bookmark()
            raise
        # dlt creates a table with its first row, and merges with the filter of its last batch: an
        # empty table, and the rows of a full load that was restarted, need one more row.
        if not table_is_known or merged_with != self.ignore_live_rows_before:
            context = self.context
            placeholder = placeholder_row(context.clock.after(), context.collection.id_type)
            yield context.builder.from_rows([placeholder])

    def _decide(self) -> Iterator[pa.Table | None]:
        """The decision of a run. A link that has expired leads to a full load in the same run."""
        context = self.context
        bookmark = Bookmark.read(context.state)
        if bookmark is not None and bookmark.last_synced is not None:
            context.clock.after(bookmark.last_synced)
        self._clear_excluded_columns(bookmark)
        full_loads = 0
        # Whatever else leads to a full load, the table may differ at the same version.
        compares_values = True
        if reason := self._reason_for_full_load(bookmark):
            bookmark = None
        context.counts.resumed = int(bookmark is not None and bookmark.full_load_in_progress)
        while True:
            try:
                if not context.collection.has_delta:
                    full_loads += 1
                    yield from self._compare_snapshot()
                elif bookmark is None:
                    full_loads += 1
                    is_first = not context.stored.exists
                    context.counts.explain("first load" if is_first else "full load", reason)
                    yield from self._load_fully(self._new_bookmark(compares_values=compares_values))
                elif bookmark.full_load_in_progress:
                    context.counts.explain("full load", "resumed")
                    if context.collection.table not in context.run.totals:
                        # A run that was killed after its merge may have written later.
                        context.clock.after(context.stored.last_synced_at())
                    yield from self._load_fully(bookmark)
                else:
                    context.counts.explain("changes")
                    yield from self._follow_delta(bookmark)
                return
            except (
                ResponseError,
                TooLargeError,
                UnknownChangeError,
                IncompleteFullLoadError,
            ) as error:
                if not _leads_to_full_load(error, bookmark) or full_loads == MAX_FULL_LOADS:
                    raise
                reason = self._explanation(error, bookmark)
                self._warn(reason)
                if bookmark is not None:
                    compares_values = bookmark.full_load_in_progress and bookmark.compares_values
                bookmark = None

    def _follow_delta(self, bookmark: Bookmark) -> Iterator[pa.Table | None]:
        """The changes since the last run; requests, rows and bytes are as many as the changes."""
        context = self.context
        events = EventReducer(context.collection.deleted_status)
        yield None
        requested_at, link = context.clock.now(), bookmark.link
        with context.pages.open_pages(bookmark.link) as pages:
            yield None
            for page in pages:
                received = context.decoder.events(page.records)
                events.add(received)
                context.counts.add_pages(1, len(received))
                link = page.delta_link or link
        stored = context.stored.rows(events.ids)
        # A run that was killed after its merge may have written later than the bookmark knows.
        now = context.clock.after(*(row["synced_at"] for row in stored.values()))
        changes = events.apply(stored, now, context.builder.is_as_stored)
        live_rows = bookmark.live_rows
        if live_rows is None or context.may_be_ahead or _is_ahead(stored.values(), bookmark):
            live_rows = context.stored.count_live_rows(context.collection.date_column, None)
        bookmark = replace(bookmark, live_rows=live_rows + changes.live_rows_added)
        context.counts.inserted = len(changes.inserted)
        context.counts.updated = len(changes.updated)
        context.counts.soft_deleted = len(changes.deleted)
        context.counts.unchanged = changes.unchanged
        for first in range(0, len(changes.rows), ROWS_PER_BATCH):
            yield context.builder.from_rows(changes.rows[first : first + ROWS_PER_BATCH])
        if bookmark.seen_ids:  # of the full load that this delta follows
            context.stored.forget_seen_ids()
            bookmark = replace(bookmark, seen_ids="")
        self._write(bookmark.advanced(link, full_load_in_progress=False, requested_at=requested_at))

    def _load_fully(self, bookmark: Bookmark) -> Iterator[pa.Table | None]:
        """A full load, from its start or resumed, up to the run's limits."""
        context = self.context
        context.counts.expected_rows = bookmark.live_rows_at_start
        full_load = FullLoad(context, bookmark, self._begin(bookmark.full_load_start))
        yield from full_load.batches()
        # What a full load in parts showed first may have changed since: the delta follows.
        context.counts.continues = full_load.bookmark.full_load_in_progress or bool(
            context.counts.resumed
        )
        self._write(full_load.bookmark)

    def _compare_snapshot(self) -> Iterator[pa.Table | None]:
        """All of a collection that has no delta, of which only the difference is merged."""
        context = self.context
        context.counts.explain("snapshot")
        synced_at = self._begin(context.stored.last_synced_at())
        yield from SnapshotDiff(context, synced_at).batches()

    def _begin(self, later_than: datetime | None) -> datetime:
        """Begins to read all pages; returns a `synced_at` that only their rows reach (UTC)."""
        context = self.context
        synced_at = context.clock.after(later_than)
        is_whole = context.stored.exists and not context.stored.lacks(context.builder.schema.names)
        if self._has_rows or not is_whole:
            self.ignore_live_rows_before = synced_at
        return synced_at

    def _write(self, bookmark: Bookmark) -> None:
        """Writes the bookmark, with what the rows of this run add to it."""
        context = self.context
        counts = context.counts
        has_rows = bookmark.has_rows or counts.inserted + counts.updated > 0
        bookmark = replace(bookmark, has_rows=has_rows)
        bookmark.synced(context.clock.latest).write(context.state)

    def _note_rows_without_bookmark(self) -> None:
        """Where only this collection stops, its rows so far are merged, with the bookmark before.

        They bring the table, the column or the first rows that were missing, so that later runs
        would not see that others are.
        """
        context = self.context
        bookmark = Bookmark.read(context.state)
        if bookmark is None or not self._has_rows:
            return
        if not context.stored.exists or self._damage(bookmark):
            bookmark = bookmark.invalidated()
        replace(bookmark, live_rows=None).write(context.state)

    def _clear_excluded_columns(self, bookmark: Bookmark | None) -> None:
        """Empties columns that are no longer to be loaded, also in rows no full load shows."""
        context = self.context
        selection = context.collection.column_selection
        has_changed = bookmark is None or bookmark.scope.column_selection != selection
        if has_changed and context.stored.has_excluded_columns:
            synced_at = context.clock.after(context.stored.last_synced_at())
            context.stored.clear_excluded_columns(synced_at)

    def _reason_for_full_load(self, bookmark: Bookmark | None) -> str:
        """Why the bookmark cannot be followed, in words; empty when it can."""
        context = self.context
        if not context.collection.has_delta:
            return ""
        if not context.stored.exists:
            return "the table does not exist yet"
        if context.run.full_resync:
            return "it was asked for"
        if bookmark is None or bookmark.is_invalidated:
            return "no bookmark to continue from"
        start_is_default = context.run.settings.start_date is None
        changes = bookmark.scope_changes(self._scope(), start_is_default=start_is_default)
        if changes:
            return f"the last run was for another {' and '.join(changes)}"
        if reason := self._damage(bookmark):
            logger.warning("%s: %s; a full load brings what is missing.", self._table_name, reason)
            self._warned_of = reason
        return reason

    def _damage(self, bookmark: Bookmark) -> str:
        """What somebody has done to the table since the last run, in words; empty if nothing."""
        stored = self.context.stored
        if stored.lacks(self.context.builder.schema.names):
            return "the table lacks a column"
        if bookmark.has_rows and stored.is_empty():
            return "the table has lost its rows"
        return ""

    def _warn(self, reason: str) -> None:
        """Says why a full load follows; advice that holds for several collections once a run."""
        given = self.context.run.advice_given
        text = reason.removesuffix(_OTHER_CONSUMER) if _OTHER_CONSUMER in given else reason
        if reason.endswith(_OTHER_CONSUMER):
            given.add(_OTHER_CONSUMER)
        logger.warning("%s: %s", self._table_name, text)
        self._warned_of = reason

    def _new_bookmark(self, *, compares_values: bool) -> Bookmark:
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
        reason = context.counts.reason
        progress.info(
            "%s: a full load%s%s",
            self._table_name,
            window,
            "" if reason == self._warned_of else f": {reason}",
            extra={"event": "full load", "table_name": self._table_name, "reason": reason},
        )
        live_rows = context.stored.count_live_rows(context.collection.date_column, start)
        return Bookmark(
            self._scope(),
            link=context.collection.delta_start(start),
            full_load_in_progress=True,
            full_load_started_at=started_at,
            live_rows_at_start=live_rows,
            link_requested_at=context.clock.now().isoformat(),
            compares_values=compares_values and context.stored.exists,
            has_rows=live_rows > 0,
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
        if isinstance(error, UnknownChangeError | IncompleteFullLoadError):
            return f"{error} A full load follows, because it shows what is true."
        status = error.status if isinstance(error, ResponseError) else 0
        if bookmark is None or bookmark.full_load_in_progress:
            return f"the full load is restarted because its link is no longer valid ({status})."
        unused = self.context.clock.now() - bookmark.link_requested
        return (
            f"the delta has expired or was replaced (status {status}),"
            f" {unused.total_seconds() // 3600:.0f} hours after"
            f" its last use; a full load follows.{_OTHER_CONSUMER if unused < LIFETIME else ''}"
        )

    @property
    def _table_name(self) -> str:
        return self.context.collection.table


def _is_ahead(stored: Iterable[Row], bookmark: Bookmark) -> bool:
    """Whether a run that was killed after its merge wrote rows that the bookmark does not know."""
    synced = bookmark.last_synced
    return synced is None or any(row["synced_at"] > synced for row in stored)


def _leads_to_full_load(error: ProtimeError, bookmark: Bookmark | None) -> bool:
    """Whether an error is answered by a full load from the start.

    Documented for a stored link are 409 and 410; but a link whose window has become too early
    since, for example, may well be answered by 400 or 404. For a link of this very run, 400 or 404
    means that something else is wrong.
    """
    if bookmark is None:
        return isinstance(error, ExpiredError)
    if isinstance(error, UnknownChangeError | IncompleteFullLoadError):
        return True
    if isinstance(error, TooLargeError):
        return not bookmark.full_load_in_progress
    return isinstance(error, ExpiredError | BadRequestError | NotFoundError)
