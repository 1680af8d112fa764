"""What differs between the records of a list and the rows of a table, by id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from protime_source.catalogue.model import Column
from protime_source.decode import compute as pc
from protime_source.decode.soft_delete import Row


@dataclass(frozen=True)
class Differences:
    """The ids that differ, by kind.

    Attributes:
        missing: Protime shows the record, and no live row has its id.
        extra: The row is live, and Protime does not show it, or shows it as deleted.
        older: The row's version is older than the record's.
        different: The row has a version that Protime does not show, or other values.
    """

    missing: pa.Array
    extra: pa.Array
    older: pa.Array
    different: pa.Array

    @property
    def ids(self) -> pa.Array:
        """All ids that differ."""
        return pa.concat_arrays([ids for _, ids in self])

    def __iter__(self) -> Iterator[tuple[str, pa.Array]]:
        """Yields each kind with its ids."""
        for name in ("missing", "extra", "older", "different"):
            yield name, getattr(self, name)

    def only(self, ids: pa.Array) -> Differences:
        """Returns what of it concerns some ids."""
        return Differences(
            **{name: found.filter(pc.is_in(found, value_set=ids)) for name, found in self}
        )


def compare(
    shown: pa.Table, stored: pa.Table, other_values: pa.Array, *, has_version: bool
) -> Differences:
    """Returns what differs.

    Args:
        shown: Protime's records, each id once: `id`, `change_version`, `is_deleted`.
        stored: The live rows: `id`, `change_version`, `inside`.
        other_values: Ids of rows with other values than their record.
        has_version: Whether every record carries a version; else only what has one is compared.
    """
    shown = shown.filter(pc.invert(shown["is_deleted"]))
    shown_ids, stored_ids = (table["id"].combine_chunks() for table in (shown, stored))
    position = pc.index_in(shown_ids, value_set=stored_ids)
    is_stored = pc.is_valid(position)
    both = shown_ids.filter(is_stored)
    shown_versions = shown["change_version"].combine_chunks().filter(is_stored)
    all_stored_versions = stored["change_version"].combine_chunks().fill_null("")
    stored_versions = all_stored_versions.take(position.filter(is_stored))
    older = pc.less(stored_versions, shown_versions)
    newer = pc.greater(stored_versions, shown_versions)
    if not has_version:
        known = pc.and_(pc.not_equal(shown_versions, ""), pc.not_equal(stored_versions, ""))
        older, newer = pc.and_(older, known), pc.and_(newer, known)
    unshown = pc.invert(pc.is_in(stored_ids, value_set=shown_ids))
    older_ids = both.filter(older)
    other_values = other_values.filter(
        pc.and_(
            pc.is_in(other_values, value_set=both),
            pc.invert(pc.is_in(other_values, value_set=older_ids)),
        )
    )
    return Differences(
        missing=shown_ids.filter(pc.invert(is_stored)),
        extra=stored_ids.filter(pc.and_(stored["inside"].combine_chunks(), unshown)),
        older=older_ids,
        different=pc.unique(pa.concat_arrays([both.filter(newer), other_values])),
    )


def unchanged_ids(ids: pa.Array, first: pa.Table, second: pa.Table) -> pa.Array:
    """Returns the ids whose record is in both looks the same: the same version, or in neither."""
    before, after = (_records(shown, ids) for shown in (first, second))
    kept = [id_ for id_ in ids.to_pylist() if before.get(id_) == after.get(id_)]
    return pa.array(kept, ids.type)


def has_same_values(row: Row, stored: Row, columns: Mapping[str, Column]) -> bool:
    """Whether a record and its stored row hold the same in every documented column."""
    return all(
        _is_same(row.get(name), stored.get(name), column.type == "json")
        for name, column in columns.items()
    )


def _is_same(one: Any, other: Any, is_json: bool) -> bool:
    if one == other:
        return True
    if not is_json:
        return False
    # Blanks and the order of an object's members may differ between two answers.
    try:
        return bool(json.loads(one or "null") == json.loads(other or "null"))
    except ValueError:  # somebody wrote it into the table
        return False


def _records(shown: pa.Table, ids: pa.Array) -> dict[Any, tuple[str, bool]]:
    found = shown.filter(pc.is_in(shown["id"], value_set=ids))
    columns = (found[name].to_pylist() for name in ("id", "change_version", "is_deleted"))
    return {id_: (version, is_deleted) for id_, version, is_deleted in zip(*columns, strict=True)}
