"""The history of events: each event of a collection's delta once, only ever added to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from protime_source.catalogue.model import Collection
from protime_source.decode import arrow
from protime_source.decode.soft_delete import Row
from protime_source.decode.values import JsonText

_COLUMNS = (
    ("event_id", "text", "Identifies the event: the same event received twice is one row."),
    ("id", "bigint", "Protime's id of the record."),
    ("change_version", "text", "Version of the record after the event."),
    ("change_type", "text", "Protime's change type, like InsertOrUpdate or Delete."),
    ("received_at", "timestamp", "When it was first received (UTC)."),
    ("record", "json", "The record as the event carried it, by column names."),
)
_SCHEMA = pa.schema([pa.field(name, arrow.TYPES[kind], False) for name, kind, _ in _COLUMNS])


def history_table_name(collection: Collection) -> str:
    """Returns the name of the table that holds a collection's events."""
    return f"{collection.table}__changes"


class EventHistory:
    """The events that one run received.

    Args:
        collection: The collection they belong to.
    """

    def __init__(self, collection: Collection) -> None:
        self.table_name = history_table_name(collection)
        self._json = {column.name for column in collection.columns if column.type == "json"}
        self._events: dict[str, dict[str, Any]] = {}

    def add(self, events: Iterable[tuple[str, Row]], received_at: datetime) -> None:
        """Adds events, each once."""
        for change_type, row in events:
            record = self._record(row)
            text = "\n".join([str(row["id"]), row["change_version"], change_type, record])
            id_ = hashlib.sha256(text.encode()).hexdigest()[:32]
            values = (id_, row["id"], row["change_version"], change_type, received_at, record)
            self._events.setdefault(id_, dict(zip(_SCHEMA.names, values, strict=True)))

    def batch(self) -> pa.Table:
        """Returns the events to add to the history."""
        return pa.Table.from_pylist([*self._events.values()], schema=_SCHEMA)

    def hints(self, json_type: str) -> dict[str, dict[str, Any]]:
        """Returns dlt's hints for the history's columns.

        Args:
            json_type: dlt's data type for JSON at the destination.
        """
        return {
            name: {
                "name": name,
                "data_type": json_type if kind == "json" else kind,
                "nullable": False,
                "primary_key": name == "event_id",
                "description": description,
            }
            for name, kind, description in _COLUMNS
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
