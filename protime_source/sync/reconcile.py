"""What a complete full load means: what differs, what vanished, and the guard on it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from protime_source.catalogue.model import Collection
from protime_source.decode import compute as pc
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.errors import VanishedRowsError
from protime_source.settings import Settings
from protime_source.sync.context import StoredRows

IDS_PER_SLICE = 1 << 18
"""How many ids are compared at once."""

MIN_GUARDED_ROWS = 10
"""Vanished rows that the guard needs to see something wrong: a table of four rows may well lose
three."""


@dataclass(frozen=True)
class Difference:
    """What some rows of a full load change.

    Attributes:
        rows: The rows to write.
        inserted: The ids among them that are not stored.
        updated: The ids among them that are stored otherwise, or as deleted.
        unchanged: How many rows are as stored.
    """

    rows: pa.Table
    inserted: pa.Array
    updated: pa.Array
    unchanged: int


def compare(
    batch: pa.Table, stored: StoredRows, *, has_version: bool, compares_values: bool
) -> Difference:
    """Compares rows of a full load with the stored ones.

    A row older than the stored one is left out: a full load may lag behind the delta.

    Args:
        batch: Live rows, each id once.
        stored: The table.
        has_version: Whether every record carries a version, which then tells whether it differs.
        compares_values: Whether the values are compared too, because they may differ at the same
            version: after a change of the columns or by another hand.
    """
    shown_version = batch["change_version"]
    without_version = pc.equal(shown_version, "")
    compares_values = compares_values or not has_version or pc.any(without_version).as_py()
    names = [name for name in batch.column_names if name not in SYNC_COLUMNS]
    read = names if compares_values else ["id", "change_version"]
    fields = [batch.schema.field(name) for name in (*read, "is_deleted")]
    found = stored.columns(batch["id"].combine_chunks(), pa.schema(fields))
    position = pc.index_in(batch["id"], value_set=found["id"])
    stored_rows = found.take(position)
    is_new = pc.is_null(position)
    version = stored_rows["change_version"]
    is_older = pc.and_(pc.invert(without_version), pc.less(shown_version, version))
    differs = pc.or_(stored_rows["is_deleted"], pc.not_equal(shown_version, version))
    if compares_values:
        for name in names:
            differs = pc.or_(differs, _differ(batch[name], stored_rows[name]))
    is_updated = pc.fill_null(pc.and_(differs, pc.invert(is_older)), False)
    is_written = pc.or_(is_new, is_updated)
    unchanged = pc.fill_null(pc.invert(pc.or_(differs, is_older)), False)
    return Difference(
        rows=batch.filter(is_written),
        inserted=batch["id"].filter(is_new).combine_chunks(),
        updated=batch["id"].filter(is_updated).combine_chunks(),
        unchanged=pc.sum(unchanged).as_py() or 0,
    )


def newest_of_each_id(batch: pa.Table) -> pa.Table:
    """Returns each id once, in its newest version."""
    if pc.count_distinct(batch["id"]).as_py() == batch.num_rows:
        return batch
    versions, ids = batch["change_version"].to_pylist(), batch["id"].to_pylist()
    by_version = sorted(range(len(ids)), key=versions.__getitem__)
    return batch.take(sorted({ids[row]: row for row in by_version}.values()))


def not_among(ids: pa.Array, others: pa.Array) -> pa.Array:
    """Returns the ids that are not among others, in ascending order.

    Both are sorted and compared in slices, because a hash set of all takes 100 bytes for each id.
    """
    ids, others = ids.sort(), others.sort()
    found = [pa.array([], ids.type)]
    for some in _slices(ids):
        first, last = some[0].as_py(), some[-1].as_py()
        start = bisect_left(others, first, key=_number)
        end = bisect_right(others, last, start, key=_number)
        for each in _slices(others[start:end]):
            some = some.filter(pc.invert(pc.is_in(some, value_set=each)))
        found.append(some)
    return pa.concat_arrays(found)


def _number(id_: pa.Scalar) -> Any:
    return id_.as_py()


def _slices(ids: pa.Array) -> Iterator[pa.Array]:
    return (ids[start : start + IDS_PER_SLICE] for start in range(0, len(ids), IDS_PER_SLICE))


def count_distinct(parts: Sequence[pa.Array]) -> int:
    """Returns how many different ids there are."""
    if not parts:
        return 0
    ids = pa.concat_arrays(parts).sort()  # a hash set would take ten times the memory
    return len(ids) - (pc.sum(pc.equal(ids[1:], ids[:-1])).as_py() or 0)


def check_vanished_share(
    collection: Collection,
    settings: Settings,
    *,
    vanished: int,
    live_rows: int,
    window_start: date | None = None,
) -> None:
    """Refuses to soft-delete more rows than the settings allow.

    Args:
        collection: The collection that was loaded fully.
        settings: They hold `max_vanished_share`; with 0, one row is too many.
        vanished: Live rows that the complete full load did not show.
        live_rows: Live rows before it.
        window_start: First day of the window, if the collection has one.

    Raises:
        VanishedRowsError: When the share is larger, and `MIN_GUARDED_ROWS` or more vanished.
    """
    allowed, live_rows = settings.max_vanished_share, max(live_rows, vanished)
    if vanished > allowed * live_rows and (vanished >= MIN_GUARDED_ROWS or allowed == 0):
        window = f" from {window_start} on" if window_start else ""
        raise VanishedRowsError(
            f"{collection.table}: a complete full load{window} no longer showed {vanished:,} of"
            f" {live_rows:,} live rows ({_percent(vanished / live_rows)}), more than"
            f" max_vanished_share allows ({_percent(allowed)}). No row was soft-deleted. If they"
            " are really gone, run once with SOURCES__PROTIME__MAX_VANISHED_SHARE=1.0; if not, ask"
            " Protime whether this client may still see everybody.",
            collection.table,
        )


def _differ(shown: pa.ChunkedArray, stored: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether values differ; an empty one differs from any other."""
    is_other = pc.fill_null(pc.not_equal(shown, stored), False)
    return pc.or_(is_other, pc.xor(pc.is_null(shown), pc.is_null(stored)))


def _percent(share: float) -> str:
    return f"{round(100 * share, 2):g}%"
