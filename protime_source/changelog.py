"""The log of every event of a collection, which is only ever added to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa
from dlt.common.schema.typing import TColumnSchema

from protime_source.collections import Collection
from protime_source.records import Row
from protime_source.values import JsonText

SUFFIX = "__changes"
"""What the log's table is called, after that of its collection."""

_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("id", pa.int64(), nullable=False),
        pa.field("change_version", pa.string(), nullable=False),
        pa.field("change_type", pa.string(), nullable=False),
        pa.field("received_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("record", pa.string(), nullable=False),
    ]
)
_DESCRIPTIONS = {
    "event_id": "Tells the event from all others: the same event twice is one row.",
    "id": "Protime's id of the record.",
    "change_version": "Version of the record after the event.",
    "change_type": "Protime's change type, like InsertOrUpdate or Delete.",
    "received_at": "When it was first received (UTC).",
    "record": "The record as the event carried it, by column names.",
}


class ChangeLog:
    """The events that one run received.

    Args:
        collection: Whose events.
    """

    def __init__(self, collection: Collection) -> None:
        self.table = f"{collection.table}{SUFFIX}"
        self._json = {column.name for column in collection.columns if column.type == "json"}
        self._events: dict[str, tuple[Any, ...]] = {}

    def add(self, events: Iterable[tuple[str, Row]], received_at: datetime) -> None:
        """Notes events, each once."""
        for kind, row in events:
            record = self._record(row)
            text = "\n".join([str(row["id"]), row["change_version"], kind, record])
            id_ = hashlib.sha256(text.encode()).hexdigest()[:32]
            values = (id_, row["id"], row["change_version"], kind, received_at, record)
            self._events.setdefault(id_, values)

    def rows(self) -> pa.Table:
        """What is to be added to the log."""
        columns = zip(*self._events.values(), strict=True) if self._events else [()] * len(_SCHEMA)
        return pa.table(
            [pa.array(values, each.type) for values, each in zip(columns, _SCHEMA, strict=True)],
            schema=_SCHEMA,
        )

    def hints(self, json_type: str) -> dict[str, TColumnSchema]:
        """Dlt's hints for its columns."""
        kinds = {"received_at": "timestamp", "id": "bigint", "record": json_type}
        return {
            name: {
                "name": name,
                "data_type": kinds.get(name, "text"),  # type: ignore[typeddict-item]
                "nullable": False,
                "primary_key": name == "event_id",
                "description": description,
            }
            for name, description in _DESCRIPTIONS.items()
        }

    def _record(self, row: Row) -> str:
        """JSON without blanks, columns by name, so that the same record is the same text."""
        values = {
            name: msgspec.Raw(value.encode())
            if isinstance(value, JsonText) or name in self._json
            else value
            for name, value in sorted(row.items())
            if value is not None
        }
        return msgspec.json.encode(values).decode()
