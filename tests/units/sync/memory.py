"""Collections and a table in memory, to ask parts of the engine one by one.

Whole histories are lived through in `tests/simulator/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from protime_source.api.http import HttpClient
from protime_source.catalogue.fields import KEYS
from protime_source.catalogue.model import Collection, column
from protime_source.decode.soft_delete import Row
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import (
    IncompleteFullLoadError,
)
from protime_source.settings import Settings, earliest_start

COLUMNS = (
    *KEYS,
    column("from", "date", "First day.", name="from_date"),
    column("label", "text", "A value."),
)
DELTA = Collection(name="shifts", columns=COLUMNS, date_column="from_date")
SNAPSHOT = Collection(name="jobs", columns=COLUMNS, has_delta=False)
START = earliest_start()
SETTINGS = Settings(
    tenant="acme",
    client_id="id",
    client_secret="a-client-secret",
    start_date=str(START),
    max_vanished_share=1.0,
)
HTTP = HttpClient(SETTINGS)
DECODERS = {each.name: RecordDecoder(each, str) for each in (DELTA, SNAPSHOT)}

Record = dict[str, Any]


@dataclass
class MemoryTable:
    """What the engine asks of a table."""

    rows_by_id: dict[int, Row] = field(default_factory=dict)
    exists: bool = False
    fingerprint: str = "memory"
    seen: dict[str, tuple[str, pa.Array]] = field(default_factory=dict)

    def rows(self, ids: Sequence[Any]) -> dict[Any, Row]:
        return {id_: dict(self.rows_by_id[id_]) for id_ in ids if id_ in self.rows_by_id}

    def all_rows(self) -> dict[Any, Row]:
        return self.rows(list(self.rows_by_id))

    def columns(self, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        return pa.Table.from_pylist(
            [{name: _arrow(row.get(name)) for name in schema.names} for row in self._found(ids)],
            schema=schema,
        )

    def lacks(self, names: Iterable[str]) -> bool:
        return False

    def is_empty(self) -> bool:
        return not self.rows_by_id

    @property
    def has_excluded_columns(self) -> bool:
        return False

    def clear_excluded_columns(self, synced_at: datetime) -> None:
        raise NotImplementedError

    def count_live_rows(self, date_column: str, start: date | None) -> int:
        return sum(1 for row in self.rows_by_id.values() if _is_in(row, date_column, start))

    def live_ids(self, date_column: str, start: date | None, *, with_undated: bool) -> pa.Array:
        rows = self.rows_by_id.items()
        return pa.array([i for i, row in rows if _is_in(row, date_column, start)], pa.int64())

    def add_seen_ids(self, seen_ids: str, ids: pa.Array) -> str:
        self.seen[key := str(len(self.seen))] = (seen_ids, ids)
        return key

    def seen_ids(self, seen_ids: str) -> pa.Array:
        parts = []
        while seen_ids:
            if seen_ids not in self.seen:
                raise IncompleteFullLoadError("lost")
            seen_ids, ids = self.seen[seen_ids]
            parts.append(ids)
        return pa.concat_arrays(parts)

    def forget_seen_ids(self) -> None:
        self.seen.clear()

    def last_synced_at(self) -> datetime | None:
        return max((row["synced_at"] for row in self.rows_by_id.values()), default=None)

    def _found(self, ids: pa.Array) -> list[Row]:
        return list(self.rows(ids.to_pylist()).values())


def _is_in(row: Row, date_column: str, start: date | None) -> bool:
    return not row["is_deleted"] and (start is None or row[date_column] >= str(start))


def _arrow(value: Any) -> Any:
    """A stored value as Arrow takes it for a date."""
    is_day = isinstance(value, str) and len(value) == 10 and value[4] == "-"
    return date.fromisoformat(value) if is_day else value
