"""One walk over a whole collection, and what it no longer shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from protime_source.decode.soft_delete import deleted
from protime_source.decode.tables import ROWS_PER_TABLE, joined
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import Extraction
from protime_source.sync.events import EventLog
from protime_source.sync.reader import Batch
from protime_source.sync.reconcile import check_share

AT_ONCE = 10_000
"""Vanished rows that are marked by one load, if others follow it. They lie everywhere, and DuckDB
keeps 200 KB of memory for every 2,048 rows of which one is changed."""


class Walk:
    """A walk, from its start or from where an earlier run stopped.

    It streams; of each row it keeps only the id, as eight bytes.

    Args:
        run: What it works with.
        bookmark: Where it begins.
        received_at: The `synced_at` of its rows (UTC), not before the walk's start.

    Attributes:
        bookmark: When all tables are taken: where the next run goes on.
    """

    def __init__(self, run: Extraction, bookmark: Bookmark, received_at: datetime) -> None:
        self._run = run
        self.bookmark = bookmark
        self._received_at = received_at
        self._seen: list[pa.Array] = []
        self._unmerged = 0

    def tables(self) -> Iterator[pa.Table | None]:
        """Walks.

        Yields:
            Tables of live rows; after the last page, of the rows that vanished. `None` while
            others can be served.

        Raises:
            ExpiredError: When a link has died.
            VanishedRowsError: When more rows vanished than the settings allow.
            ApiError: When there is no usable answer.
        """
        yield from joined(self._tables())
        self._count()

    def _tables(self) -> Iterator[pa.Table | None]:
        run = self._run
        # No variable of its own: a failure's traceback would hold it, and the reader's threads.
        for batch in () if self.bookmark.is_marking else run.batches(self.bookmark.link):
            if batch is None:
                yield None
                continue
            self._move(batch)
            yield from self._rows(batch)
        if self.bookmark.is_marking or not self.bookmark.walking:
            yield from self._vanished()

    def _move(self, batch: Batch) -> None:
        """The bookmark moves along, up to the last page or to the limit."""
        link = batch.delta_link or batch.next_link or ""
        self.bookmark = self.bookmark.moved(
            link, walking=batch.delta_link is None, contact=self._run.ticker.after()
        )

    def _rows(self, batch: Batch) -> Iterator[pa.Table]:
        """A table of some pages, with a time of its own and each id once.

        So all staged rows differ, by which BigQuery tells them apart.
        """
        table = self._run.builder.batch(batch, self._run.ticker.after(self._received_at))
        self._run.counts.add_pages(batch.count, table.num_rows)
        table = _once(table)
        self._seen.append(table["id"].combine_chunks())
        if self._run.collection.deleted_status:
            yield from self._marked(table)
            table = self._undeleted(table)
        yield from self._without_stale(table)

    def _undeleted(self, table: pa.Table) -> pa.Table:
        status = pa.scalar(self._run.collection.deleted_status)
        return table.filter(pc.fill_null(pc.not_equal(table["status"], status), True))

    def _marked(self, table: pa.Table) -> Iterator[pa.Table]:
        """Rows that a walk shows with the status of a deletion: held ones are marked.

        Those that are held in a newer version stay, and must not count as vanished.
        """
        run = self._run
        status = run.collection.deleted_status
        log = EventLog(status)
        shown = table.filter(pc.equal(table["status"], pa.scalar(status)))
        log.add(("", row) for row in run.builder.plain_rows(shown))
        self._unmerged += shown.num_rows
        if not log.ids or not run.warehouse.exists:
            return
        held = run.held(log.ids)
        gone = log.apply(held, run.ticker.after()).deleted
        run.counts.marked += len(gone)
        marked = {row["id"] for row in gone}
        kept = [
            {**row, "synced_at": run.ticker.after()}
            for id_, row in held.items()
            if id_ not in marked and not row["is_deleted"]
        ]
        if gone or kept:
            yield run.builder.rows(gone + kept)

    def _without_stale(self, table: pa.Table) -> Iterator[pa.Table]:
        """Keeps what the warehouse holds in a newer version, but notes that the walk saw it.

        A walk may lag behind the delta. Such a row must not be overwritten; it must not count
        as vanished either when the walk is completed by a later run.
        """
        if not self._may_lag:
            yield table
            return
        ids = table["id"].combine_chunks()
        shown = dict(zip(ids.to_pylist(), table["change_version"].to_pylist(), strict=True))
        held = self._run.warehouse.versions(list(shown), self._run.foreign_until)
        stale = {
            id_: gone for id_, (version, gone) in held.items() if "" < shown.get(id_, "") < version
        }
        if not stale:
            yield table
            return
        self._unmerged += len(stale)
        yield table.filter(pc.invert(pc.is_in(ids, value_set=pa.array(stale, pa.int64()))))
        kept = self._run.warehouse.rows([id_ for id_, gone in stale.items() if not gone])
        yield self._run.builder.rows(
            [{**row, "synced_at": self._run.ticker.after()} for row in kept.values()]
        )

    @cached_property
    def _may_lag(self) -> bool:
        """Whether there is a row that only this walk could refresh."""
        return self._run.warehouse.holds_before(self.bookmark.walk_start)

    def _vanished(self) -> Iterator[pa.Table]:
        """The live rows of the window that no page of the complete walk showed.

        When there are many, they wait for loads of their own.
        """
        run, bookmark = self._run, self.bookmark
        if not run.warehouse.exists:
            return
        unseen = run.warehouse.not_received_since(
            bookmark.walk_start, run.collection.date_column, bookmark.start
        )
        gone = unseen.filter(pc.invert(pc.is_in(unseen, value_set=self._all_seen())))
        live = bookmark.live_before
        check_share(run.collection, run.settings, len(gone), live, bookmark.start)
        is_all = len(gone) <= AT_ONCE or not run.session.reads_on
        self.bookmark = bookmark.marked(is_all=is_all)
        if not is_all:
            gone = gone.sort()[: 0 if self._seen else AT_ONCE]
        run.counts.vanished = len(gone)
        run.counts.marked += len(gone)
        for first in range(0, len(gone), ROWS_PER_TABLE):
            rows = run.warehouse.rows(gone[first : first + ROWS_PER_TABLE].to_pylist())
            yield run.builder.rows(
                [deleted(row, "vanished", self._received_at) for row in rows.values()]
            )

    def _all_seen(self) -> pa.Array:
        return pa.concat_arrays(self._seen) if self._seen else pa.array([], pa.int64())

    def _count(self) -> None:
        """Counts each id once, however often pages repeat it."""
        seen = self._all_seen().sort()  # a hash set would take ten times the memory
        repeated = pc.sum(pc.equal(seen[1:], seen[:-1])).as_py() or 0
        self._run.counts.merged = len(seen) - repeated - self._unmerged


def _once(table: pa.Table) -> pa.Table:
    """Each id once, in its newest version."""
    if pc.count_distinct(table["id"]).as_py() == table.num_rows:
        return table
    versions, ids = table["change_version"].to_pylist(), table["id"].to_pylist()
    by_version = sorted(range(len(ids)), key=versions.__getitem__)
    return table.take(sorted({ids[row]: row for row in by_version}.values()))
