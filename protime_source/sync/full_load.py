"""A full load: all pages of a collection, of which only what differs is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from protime_source.decode import compute as pc
from protime_source.decode.soft_delete import live, soft_deleted
from protime_source.decode.tables import ROWS_PER_BATCH, rechunk
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import CollectionContext, PageBatch
from protime_source.sync.events import UPDATE, EventReducer
from protime_source.sync.reconcile import (
    check_vanished_share,
    compare,
    count_distinct,
    newest_of_each_id,
    not_among,
)


class FullLoad:
    """A full load, from its start or from where an earlier package stopped.

    It streams; of each row it keeps only the id, as eight bytes.

    Args:
        context: The collection and what it works with.
        bookmark: Where it begins.
        synced_at: The `synced_at` of its rows (UTC), not before the full load's start.

    Attributes:
        bookmark: Once all batches are taken: where the next run continues.
    """

    def __init__(self, context: CollectionContext, bookmark: Bookmark, synced_at: datetime) -> None:
        self.bookmark = bookmark
        self._context = context
        self._synced_at = synced_at
        self._seen: list[pa.Array] = []
        self._inserted: list[pa.Array] = []
        self._updated: list[pa.Array] = []

    def batches(self) -> Iterator[pa.Table | None]:
        """Loads the pages up to the run's limits, and after the last page what vanished.

        Yields:
            `None` before the first request and once it is on its way, then batches of rows to
            merge.

        Raises:
            ExpiredError: When a link has expired.
            IncompleteFullLoadError: When the ids that its earlier parts showed are lost.
            VanishedRowsError: When more rows vanished than the settings allow.
            ApiError: When Protime gives no usable answer.
        """
        context = self._context
        yield None
        with context.pages.open_batches(self.bookmark.link) as pages:
            yield None
            shown = map(self._shown_rows, pages)
            for batch in rechunk(shown) if context.stored.exists else shown:
                yield from self._rows_to_write(batch)
        # Pages may repeat a record: each id counts once.
        context.counts.inserted = count_distinct(self._inserted)
        context.counts.updated = count_distinct(self._updated)
        if self.bookmark.live_rows_at_start:  # else no row can have vanished
            if self.bookmark.full_load_in_progress:
                self._keep_seen_ids()
            else:
                yield from self._vanished_rows()

    def _shown_rows(self, page_batch: PageBatch) -> pa.Table:
        """The rows of some pages, each id once, with a `synced_at` of their own.

        So all staged rows differ, which BigQuery needs to tell them apart.
        """
        context = self._context
        self.bookmark = self.bookmark.advanced(
            page_batch.delta_link or page_batch.next_link or "",
            full_load_in_progress=page_batch.delta_link is None,
            requested_at=context.clock.now(),
        )
        synced_at = context.clock.after(self._synced_at)
        if page_batch.columns is not None:
            batch = context.builder.from_columns(page_batch.columns, synced_at)
        else:
            decoded = (context.decoder.rows(page.records) for page in page_batch.pages)
            rows = [live(row, synced_at) for rows in decoded for row in rows]
            batch = context.builder.from_rows(rows)
        context.counts.add_pages(page_batch.page_count, batch.num_rows)
        if self.bookmark.live_rows_at_start:
            self._seen.append(batch["id"].combine_chunks())
            date_column = context.collection.date_column
            if date_column and batch[date_column].null_count:
                self.bookmark = replace(self.bookmark, shows_undated=True)
        return newest_of_each_id(batch)

    def _rows_to_write(self, batch: pa.Table | None) -> Iterator[pa.Table]:
        """The rows that differ from the stored ones, and those that Protime calls deleted."""
        context = self._context
        if batch is None:
            return
        if context.collection.deleted_status:
            status = pa.scalar(context.collection.deleted_status)
            is_deleted = pc.fill_null(pc.equal(batch["status"], status), False)
            yield from self._rows_with_deleted_status(batch.filter(is_deleted))
            batch = batch.filter(pc.invert(is_deleted))
        if not context.stored.exists:
            self._inserted.append(batch["id"].combine_chunks())
            yield batch
            return
        difference = compare(
            batch,
            context.stored,
            has_version=context.collection.has_version,
            compares_values=self.bookmark.compares_values,
        )
        self._inserted.append(difference.inserted)
        self._updated.append(difference.updated)
        context.counts.unchanged += difference.unchanged
        yield difference.rows

    def _rows_with_deleted_status(self, shown: pa.Table) -> Iterator[pa.Table]:
        """Stored rows that the full load shows with the status of a deletion: soft-deleted."""
        context = self._context
        events = EventReducer(context.collection.deleted_status)
        events.add((UPDATE, row) for row in context.builder.plain_rows(shown))
        if events.ids and context.stored.exists:
            changes = events.apply(
                context.stored.rows(events.ids), context.clock.after(), context.builder.is_as_stored
            )
            context.counts.soft_deleted += len(changes.deleted)
            self._updated.append(pa.array((row["id"] for row in changes.updated), pa.int64()))
            if rows := changes.deleted + changes.updated:
                yield context.builder.from_rows(rows)

    def _keep_seen_ids(self) -> None:
        """Keeps the ids of this part in the warehouse until the full load is complete."""
        seen_ids = self._context.stored.add_seen_ids(self.bookmark.seen_ids, self._all_seen_ids())
        self.bookmark = replace(self.bookmark, seen_ids=seen_ids)

    def _vanished_rows(self) -> Iterator[pa.Table]:
        """The live rows of the window that no page of the complete full load showed.

        A row without a readable date lies in no window. It counts as missing only if the full load
        shows other rows without a date: else Protime's filter leaves such rows out.
        """
        context, bookmark = self._context, self.bookmark
        if bookmark.seen_ids:
            self._seen.append(context.stored.seen_ids(bookmark.seen_ids))
        live_ids = context.stored.live_ids(
            context.collection.date_column,
            bookmark.window_start,
            with_undated=bookmark.shows_undated,
        )
        not_found = not_among(live_ids, self._all_seen_ids())
        check_vanished_share(
            context.collection,
            context.run.settings,
            vanished=len(not_found),
            live_rows=bookmark.live_rows_at_start,
            window_start=bookmark.window_start,
        )
        context.counts.vanished = len(not_found)
        context.counts.soft_deleted += len(not_found)
        for first in range(0, len(not_found), ROWS_PER_BATCH):
            rows = context.stored.rows(not_found[first : first + ROWS_PER_BATCH].to_pylist())
            learnt_at = context.clock.after(self._synced_at)
            yield context.builder.from_rows(
                [soft_deleted(row, "vanished", learnt_at) for row in rows.values()]
            )

    def _all_seen_ids(self) -> pa.Array:
        return pa.concat_arrays(self._seen) if self._seen else pa.array([], pa.int64())
