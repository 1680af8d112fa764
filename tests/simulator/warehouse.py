"""A warehouse in memory: what the engines do with the SQL of `protime_source.warehouse` and dlt's.

`tests/units/warehouse/test_merge.py` compares `Warehouse.merge` with the real statement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Protocol

import pyarrow as pa

from protime_source.decode.soft_delete import Row
from protime_source.errors import IncompleteFullLoadError
from protime_source.pipeline.states import taken_back
from protime_source.warehouse.staging import StagedRows

State = dict[str, Any]


class RefusedError(Exception):
    """The destination refuses a statement; dlt's load step fails with it."""


@dataclass(frozen=True)
class MergeFilter:
    """What `warehouse.merge.merge_filter` is made of."""

    ignore_live_rows_before: datetime | None
    has_version: bool = True


@dataclass(frozen=True)
class CommittedState:
    """A row of dlt's table of states; it counts once the load has its record."""

    load_id: str
    version: int
    state: State


@dataclass
class Warehouse:
    """All tables of a dataset and its staging dataset.

    Attributes:
        rows: The table, by id; `None` while it does not exist.
        lacks_column: Whether somebody has dropped a column.
        staging: The staging table; `None` while it does not exist.
        schema_is_noted: Whether dlt has noted its schema, so that it creates no missing table.
        states: dlt's states.
        loads: The loads that have their record.
        seen: The rows of `sync_seen_ids`, by key: the key before, and ids.
        history: Id, version, mark and `synced_at` of each recorded version.
        lock: Who holds the dataset's lock.
        file: Who has the file open, on DuckDB.
        refusals: Statements that the destination still refuses.
        running: The runs that have no end in the ledger.
        silent: Those that another run has closed, and when.
    """

    rows: dict[int, Row] | None = None
    lacks_column: bool = False
    staging: list[Row] | None = None
    schema_is_noted: bool = False
    states: list[CommittedState] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    seen: dict[str, tuple[str, pa.Array]] = field(default_factory=dict)
    history: list[tuple[int, datetime]] = field(default_factory=list)
    lock: object | None = None
    file: object | None = None
    refusals: int = 0
    running: set[object] = field(default_factory=set)
    silent: dict[object, datetime] = field(default_factory=dict)
    keys: int = 0

    def copy(self) -> Warehouse:
        """A backup; no row and no state is ever changed in place."""
        return replace(
            self,
            rows=None if self.rows is None else dict(self.rows),
            staging=None if self.staging is None else list(self.staging),
            states=list(self.states),
            loads=list(self.loads),
            seen=dict(self.seen),
            history=list(self.history),
            lock=None,
            file=None,
            refusals=0,
            running=set(self.running),
            silent=dict(self.silent),
        )

    # What dlt and our hooks ask for.

    def committed(self) -> State | None:
        """The newest committed state as `pipeline.states` asks for it."""
        newest = self.newest_commit()
        return newest.state if newest else None

    def newest_commit(self) -> CommittedState | None:
        """The newest committed state, by version, with the load that committed it."""
        found = [each for each in self.states if each.load_id in self.loads]
        return max(found, key=lambda each: (each.version, each.load_id), default=None)

    def newest_by_time(self) -> State | None:
        """The newest committed state as dlt asks for it: by the time of the load."""
        found = [each for each in self.states if each.load_id in self.loads]
        newest = max(found, key=lambda each: each.load_id, default=None)
        return newest.state if newest else None

    def states_beside(self, load_ids: Collection[str]) -> list[tuple[str, State]]:
        """The committed states but for those of some loads, newest first."""
        found = [s for s in self.states if s.load_id in self.loads and s.load_id not in load_ids]
        found.sort(key=lambda each: (each.version, each.load_id), reverse=True)
        return [(each.load_id, each.state) for each in found]

    def uncommit(self, load_ids: Collection[str], source: str, *, restarts: bool = False) -> None:
        """As `pipeline.states.uncommit`."""
        found = [s for s in self.states if s.load_id in load_ids and s.load_id in self.loads]
        before = next((state for _, state in self.states_beside(load_ids)), {})
        self.states = [each for each in self.states if each.load_id not in load_ids]
        if newest := max(found, key=lambda each: (each.version, each.load_id), default=None):
            state = taken_back([*load_ids], newest.state, before, source, restarts=restarts)
            state["_version_hash"] = f"without {sorted(load_ids)}"
            self.states.append(replace(newest, state=state))

    def staged_rows(self, names: Collection[str]) -> dict[str, StagedRows]:
        """What the staging table holds, as `read_staged_rows` asks for it."""
        if self.staging is None or "shifts" not in names:
            return {}
        moments = [row["synced_at"] for row in self.staging]
        first, last = min(moments, default=None), max(moments, default=None)
        return {"shifts": StagedRows(len(moments), first, last)}

    def merge(self, merge_filter: MergeFilter) -> dict[int, Row]:
        """Dlt's MERGE with our filter, of all staged rows; returns the rows that it wrote."""
        newest: dict[int, Row] = {}
        ignored = merge_filter.ignore_live_rows_before
        for row in sorted(self.staging or [], key=newest_first):
            if row["is_deleted"] or ignored is None or row["synced_at"] >= ignored:
                newest[row["id"]] = row
        stored = self.rows if self.rows is not None else {}
        written = {
            id_: row
            for id_, row in newest.items()
            if is_let_through(row, stored.get(id_), has_version=merge_filter.has_version)
        }
        self.rows = {**stored, **written}
        return written

    def record_history(self) -> None:
        """The versions that were synced after the newest recorded one."""
        newest = max((moment for _id, moment in self.history), default=None)
        rows = self.rows or {}
        self.history += [
            (id_, row["synced_at"])
            for id_, row in rows.items()
            if newest is None or row["synced_at"] > newest
        ]


def newest_first(row: Row) -> tuple[str, datetime]:
    """The order of an id's staged rows, of which the last counts."""
    return row["change_version"], row["synced_at"]


def is_let_through(row: Row, stored: Row | None, *, has_version: bool) -> bool:
    """Whether the merge filter lets the newest staged row of an id through."""
    if stored is None:
        return not row["is_deleted"]
    version = row["change_version"]
    return bool(version >= stored["change_version"] or (not has_version and version == ""))


class Passage(Protocol):
    """What each effect on the warehouse passes first."""

    def effect(self, name: str) -> None:
        """Stands still, or fails, if it is to."""
        ...


@dataclass
class StoredRows:
    """The engine's interface to the table, made when a collection's extraction begins."""

    warehouse: Warehouse
    effects: Passage
    fingerprint: str = "warehouse"
    has_excluded_columns: bool = False
    exists: bool = field(init=False)
    _lacks_column: bool = field(init=False)

    def __post_init__(self) -> None:
        self.effects.effect("read the table's columns")
        self.exists = self.warehouse.rows is not None
        self._lacks_column = self.warehouse.lacks_column

    @property
    def _rows(self) -> dict[int, Row]:
        return self.warehouse.rows or {}

    def rows(self, ids: Sequence[Any]) -> dict[Any, Row]:
        self.effects.effect("read rows")
        rows = self._rows
        return {id_: dict(rows[id_]) for id_ in ids if id_ in rows}

    def all_rows(self) -> dict[Any, Row]:
        return self.rows(list(self._rows))

    def columns(self, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        self.effects.effect("read columns")
        rows = self._rows
        found = [rows[id_] for id_ in ids.to_pylist() if id_ in rows]
        columns = [
            pa.array([_arrow(each.name, row.get(each.name)) for row in found], each.type)
            for each in schema
        ]
        return pa.table(columns, schema=schema)

    def lacks(self, names: Iterable[str]) -> bool:
        return self._lacks_column

    def is_empty(self) -> bool:
        self.effects.effect("read whether the table is empty")
        return not self._rows

    def clear_excluded_columns(self, synced_at: datetime) -> None:
        raise NotImplementedError

    def count_live_rows(self, date_column: str, start: date | None) -> int:
        self.effects.effect("count live rows")
        return sum(1 for row in self._rows.values() if _is_live(row, date_column, start))

    def live_ids(self, date_column: str, start: date | None, *, with_undated: bool) -> pa.Array:
        self.effects.effect("read live ids")
        rows = self._rows.items()
        return pa.array([i for i, row in rows if _is_live(row, date_column, start)], pa.int64())

    def add_seen_ids(self, seen_ids: str, ids: pa.Array) -> str:
        self.effects.effect("keep seen ids")
        self.warehouse.keys += 1
        key = f"seen {self.warehouse.keys}"
        self.warehouse.seen[key] = (seen_ids, ids)
        return key

    def seen_ids(self, seen_ids: str) -> pa.Array:
        self.effects.effect("read seen ids")
        parts = []
        while seen_ids:
            if seen_ids not in self.warehouse.seen:
                raise IncompleteFullLoadError("The seen ids are lost.")
            seen_ids, ids = self.warehouse.seen[seen_ids]
            parts.append(ids)
        return pa.concat_arrays(parts)

    def forget_seen_ids(self) -> None:
        self.effects.effect("forget seen ids")
        self.warehouse.seen.clear()

    def last_synced_at(self) -> datetime | None:
        self.effects.effect("read the last synced_at")
        synced = [row["synced_at"] for row in self._rows.values()] if self.exists else []
        recorded = [moment for _id, moment in self.warehouse.history]
        return max([*synced, *recorded], default=None)


def _is_live(row: Row, date_column: str, start: date | None) -> bool:
    return not row["is_deleted"] and (start is None or row[date_column] >= str(start))


def _arrow(name: str, value: Any) -> Any:
    """A stored value as Arrow takes it for a date."""
    return date.fromisoformat(value) if name == "from_date" and value else value
