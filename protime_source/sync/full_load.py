"""A full load: all pages of a collection, and the rows that they no longer show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from protime_source.decode.soft_delete import live, soft_deleted
from protime_source.decode.tables import ROWS_PER_BATCH
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import CollectionContext, PageBatch
from protime_source.sync.events import EventReducer
from protime_source.sync.reconcile import check_vanished_share


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
        self._not_merged = 0
        # A full load may lag behind the delta: then it shows older versions than are stored.
        self._may_lag = context.stored.has_rows_before(bookmark.full_load_start)

    def batches(self) -> Iterator[pa.Table | None]:
        """Loads the pages up to the run's limits, and after the last page what vanished.

        Yields:
            `None` once the first request is on its way, then batches of rows to merge.

        Raises:
            ExpiredError: When a link has expired.
            VanishedRowsError: When more rows vanished than the settings allow.
            ApiError: When Protime gives no usable answer.
        """
        context = self._context
        with context.pages.open_batches(self.bookmark.link) as pages:
            yield None
            for page_batch in pages:
                self.bookmark = self.bookmark.advanced(
                    page_batch.delta_link or page_batch.next_link or "",
                    full_load_in_progress=page_batch.delta_link is None,
                    requested_at=context.clock.after(),
                )
                batch = _newest_of_each_id(self._live_rows(page_batch))
                context.counts.add_pages(page_batch.page_count, batch.num_rows)
                self._seen.append(batch["id"].combine_chunks())
                if context.collection.deleted_status:
                    yield from self._rows_with_deleted_status(batch)
                    batch = self._without_deleted_status(batch)
                if self._may_lag:
                    yield from self._without_stale_rows(batch)
                else:
                    yield batch
        self._count_merged()
        if not self.bookmark.full_load_in_progress and context.stored.exists:
            yield from self._vanished_rows()

    def _live_rows(self, page_batch: PageBatch) -> pa.Table:
        """The rows of some pages, with a `synced_at` of their own.

        So all staged rows differ, which BigQuery needs to tell them apart.
        """
        context = self._context
        synced_at = context.clock.after(self._synced_at)
        if page_batch.columns is not None:
            return context.builder.from_columns(page_batch.columns, synced_at)
        decoded = (context.decoder.rows(page.records) for page in page_batch.pages)
        return context.builder.from_rows([live(row, synced_at) for rows in decoded for row in rows])

    def _without_deleted_status(self, batch: pa.Table) -> pa.Table:
        status = pa.scalar(self._context.collection.deleted_status)
        return batch.filter(pc.fill_null(pc.not_equal(batch["status"], status), True))

    def _rows_with_deleted_status(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Stored rows that the full load shows with the status of a deletion: soft-deleted.

        Those that are stored in a newer version stay, and must not count as vanished.
        """
        context = self._context
        status = context.collection.deleted_status
        events = EventReducer(status)
        shown = batch.filter(pc.equal(batch["status"], pa.scalar(status)))
        events.add(("", row) for row in context.builder.plain_rows(shown))
        self._not_merged += shown.num_rows
        if not events.ids or not context.stored.exists:
            return
        stored = context.stored.rows(events.ids)
        deleted = events.apply(stored, context.clock.after()).deleted
        context.counts.soft_deleted += len(deleted)
        deleted_ids = {row["id"] for row in deleted}
        kept = [
            {**row, "synced_at": context.clock.after()}
            for id_, row in stored.items()
            if id_ not in deleted_ids and not row["is_deleted"]
        ]
        if deleted or kept:
            yield context.builder.from_rows(deleted + kept)

    def _without_stale_rows(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Leaves out rows that are stored in a newer version, but remembers that they were seen.

        Such a row must not be overwritten; it must not count as vanished either when a later run
        completes the full load.
        """
        context = self._context
        ids = batch["id"].combine_chunks()
        shown = dict(zip(ids.to_pylist(), batch["change_version"].to_pylist(), strict=True))
        stored = context.stored.versions(list(shown))
        stale = {
            id_: is_deleted
            for id_, (version, is_deleted) in stored.items()
            if "" < shown.get(id_, "") < version
        }
        if not stale:
            yield batch
            return
        self._not_merged += len(stale)
        yield batch.filter(pc.invert(pc.is_in(ids, value_set=pa.array(stale, pa.int64()))))
        kept = context.stored.rows([id_ for id_, is_deleted in stale.items() if not is_deleted])
        yield context.builder.from_rows(
            [{**row, "synced_at": context.clock.after()} for row in kept.values()]
        )

    def _vanished_rows(self) -> Iterator[pa.Table]:
        """The live rows of the window that no page of the complete full load showed."""
        context, bookmark = self._context, self.bookmark
        candidates = context.stored.ids_not_received_since(
            bookmark.full_load_start, context.collection.date_column, bookmark.window_start
        )
        not_found = candidates.filter(
            pc.invert(pc.is_in(candidates, value_set=self._all_seen_ids()))
        )
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
            yield context.builder.from_rows(
                [soft_deleted(row, "vanished", self._synced_at) for row in rows.values()]
            )

    def _all_seen_ids(self) -> pa.Array:
        return pa.concat_arrays(self._seen) if self._seen else pa.array([], pa.int64())

    def _count_merged(self) -> None:
        """Counts each id once, however often pages repeat it."""
        seen = self._all_seen_ids().sort()  # a hash set would take ten times the memory
        repeated = pc.sum(pc.equal(seen[1:], seen[:-1])).as_py() or 0
        self._context.counts.merged = len(seen) - repeated - self._not_merged


def _newest_of_each_id(batch: pa.Table) -> pa.Table:
    """Each id once, in its newest version."""
    if pc.count_distinct(batch["id"]).as_py() == batch.num_rows:
        return batch
    versions, ids = batch["change_version"].to_pylist(), batch["id"].to_pylist()
    by_version = sorted(range(len(ids)), key=versions.__getitem__)
    return batch.take(sorted({ids[row]: row for row in by_version}.values()))
