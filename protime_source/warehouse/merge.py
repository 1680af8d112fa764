"""The conditions that make dlt's MERGE statements safe to repeat, as functions of names."""

from __future__ import annotations

from datetime import datetime

from protime_source.warehouse.dialect import Dialect


def merge_filter(
    dialect: Dialect,
    *,
    table: str,
    staging: str,
    ignore_live_rows_before: datetime | None,
    has_version: bool,
    is_new_table: bool = False,
) -> str:
    """Returns the condition on staged rows that lets the newest row of each id through.

    It rejects a version older than the stored one, all but one of an id's staged rows (a staging
    load that was repeated after a crash included), and a soft delete of an id that is not stored.
    An equal version is applied again: it is the same record, or a full load that shows a row alive
    which an earlier run soft-deleted.

    Args:
        dialect: The destination's.
        table: Qualified name of the table.
        staging: Qualified name of its staging table.
        ignore_live_rows_before: Rejects live rows that were received before (UTC): they come from
            a full load that was restarted within the load, and may have vanished since.
        has_version: Whether every record carries a version. If not, a row without one is newer
            than the stored row, because it was received later.
        is_new_table: Whether there was no table when the rows were received. The statement then
            looks whether the table is empty and all staged rows are live, valid and of different
            ids: the filter would let all of them through, and is spared.
    """
    key, version = dialect.row_key, dialect.version
    valid, live = "TRUE", "NOT is_deleted"
    if ignore_live_rows_before is not None:
        moment = dialect.timestamp(ignore_live_rows_before)
        valid = f"s.is_deleted OR s.synced_at >= {moment}"
        live += f" AND synced_at >= {moment}"
    spared = ""
    if is_new_table and dialect.spares_merge_filter:
        spared = (
            f"(NOT EXISTS (SELECT 1 FROM {table}) AND (SELECT COUNT(*) ="
            f" COUNT(DISTINCT CASE WHEN {live} THEN id END) FROM {staging}))"
        )
        valid = f"({valid}) AND NOT {spared}"
    if has_version:
        is_newer = "staged_version >= stored_version"
    else:
        is_newer = (
            "stored_version IS NOT NULL"
            " AND (staged_version = '' OR staged_version >= stored_version)"
        )
    newest = (
        f"{key(staging)} IN (SELECT row_key FROM ("
        f"SELECT {key('s')} AS row_key, {version('s')} AS staged_version,"
        f" s.is_deleted AS is_delete, {version('d')} AS stored_version,"
        f" ROW_NUMBER() OVER (PARTITION BY s.id"
        f" ORDER BY {version('s')} DESC, s.synced_at DESC) AS newest_first"
        f" FROM {staging} s LEFT JOIN {table} d ON d.id = s.id"
        f" WHERE {valid}) candidates WHERE newest_first = 1 AND"
        f" ((stored_version IS NULL AND NOT is_delete) OR {is_newer}))"
    )
    return f"({spared} OR {newest})" if spared else newest
