"""Rows and their sync columns: what this package adds to a record of Protime's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypedDict

Row = dict[str, Any]
"""A row by column name: dates as ISO text, JSON as its text, undocumented fields beside them."""


class SyncColumn(TypedDict):
    """The hints of one sync column, in dlt's words."""

    data_type: Literal["bool", "text", "timestamp"]
    nullable: bool
    description: str


SYNC_COLUMNS: dict[str, SyncColumn] = {
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
        "description": "`announced` by the delta, or `vanished`: a full load no longer found it.",
    },
    "synced_at": {
        "data_type": "timestamp",
        "nullable": False,
        "description": "When the row was last written here (UTC): inserted, updated, soft-deleted"
        " or restored.",
    },
}
"""The columns of every table that follow those of Protime."""

LIVE = {"is_deleted": False, "deleted_at": None, "delete_reason": None}
"""The sync columns of a live row, except `synced_at`."""


def live(row: Row, synced_at: datetime) -> Row:
    """Returns a row as live, whatever it was before."""
    return {**row, **LIVE, "synced_at": synced_at}


def soft_deleted(row: Row, reason: str, learnt_at: datetime) -> Row:
    """Returns a row with its last-known values, marked as deleted.

    Args:
        row: The last-known row. If it is soft-deleted already, it keeps its `deleted_at`.
        reason: `announced` or `vanished`.
        learnt_at: When we learnt of the deletion (UTC).
    """
    deleted_at = row.get("deleted_at") or learnt_at
    sync_columns = {"is_deleted": True, "deleted_at": deleted_at, "delete_reason": reason}
    return {**row, **sync_columns, "synced_at": learnt_at}


def placeholder_row(synced_at: datetime, id_type: str = "bigint") -> Row:
    """Returns a placeholder tombstone that the merge filter always rejects.

    It makes dlt create a table that has no rows yet. An Arrow table without rows would do, except
    that the driver for Postgres refuses to load one.
    """
    id_ = "" if id_type == "text" else -(2**63)
    return soft_deleted({"id": id_, "change_version": ""}, "announced", synced_at)
