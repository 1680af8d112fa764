"""Rows, and the marks on them: what we know of a row, and Protime does not send."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dlt.common.schema.typing import TColumnSchema

Row = dict[str, Any]
"""A row by column names; dates as ISO text, json as its text, fields we do not know beside them."""

SYNC_COLUMNS: dict[str, TColumnSchema] = {
    "is_deleted": {
        "data_type": "bool",
        "nullable": False,
        "description": "Whether it is gone from Protime; the row keeps its last values.",
    },
    "deleted_at": {
        "data_type": "timestamp",
        "nullable": True,
        "description": "When we learnt that it is gone (UTC).",
    },
    "delete_reason": {
        "data_type": "text",
        "nullable": True,
        "description": "`announced` by the delta, or `vanished` at a resync.",
    },
    "synced_at": {
        "data_type": "timestamp",
        "nullable": False,
        "description": "When the row was last received (UTC).",
    },
}
"""Columns of every table, after those of Protime."""

NOT_NULL = ("id", "change_version")
"""Columns of Protime's that every row has."""

LIVE = {"is_deleted": False, "deleted_at": None, "delete_reason": None}
"""The marks of a live row, but for `synced_at`."""


def live(row: Row, synced_at: datetime) -> Row:
    """A row as Protime shows it now: alive, whatever it was before."""
    return {**row, **LIVE, "synced_at": synced_at}


def soft_deleted(row: Row, reason: str, learnt_at: datetime) -> Row:
    """A row with its last-known values, marked. A row marked before keeps when we learnt of it.

    Args:
        row: The last-known row.
        reason: `announced` or `vanished`.
        learnt_at: When we learnt of it (UTC).
    """
    deleted_at = row.get("deleted_at") or learnt_at
    return {**row, "is_deleted": True, "deleted_at": deleted_at, "delete_reason": reason}


def placeholder_row(synced_at: datetime, id_type: str = "bigint") -> Row:
    """A row that no merge lets through: a delete of an id that is never held.

    It makes dlt create a table that has no rows yet. A table of no rows would do, but for the
    driver that loads into Postgres, which refuses it each time.
    """
    id_ = "" if id_type == "text" else -(2**63)
    row = {"id": id_, "change_version": "", "synced_at": synced_at}
    return soft_deleted(row, "announced", synced_at)
