"""Tables that no load can go into as they are: refused before a request, with what to do.

An engine adds no column that must not be empty to a table that has rows; and without the columns
that tell rows, versions and days apart, what is stored cannot be compared.
"""

from __future__ import annotations

from dlt.common.configuration import with_config
from dlt.common.schema.typing import TTableSchemaColumns

from protime_source.catalogue.model import NOT_NULL, Collection
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.errors import SettingsError, WarehouseError
from protime_source.warehouse.table import StoredTable

_DLT_COLUMNS = {"_dlt_id": "add_dlt_id", "_dlt_load_id": "add_dlt_load_id"}
"""dlt's columns that must not be empty, and the settings that add them."""


def check_table(
    stored: StoredTable, collection: Collection, known_columns: TTableSchemaColumns
) -> None:
    """Refuses a table that no load can go into.

    Args:
        stored: The table.
        collection: What is loaded into it.
        known_columns: dlt's columns of it.

    Raises:
        ProtimeError: With what to do.
    """
    check_columns(stored, collection)
    _check_dlt_columns(stored, collection.table, known_columns)


def check_columns(stored: StoredTable, collection: Collection) -> None:
    """Refuses a table that lacks a column without which its rows cannot be told apart.

    Args:
        stored: The table.
        collection: What is loaded into it.

    Raises:
        WarehouseError: With the columns, and what to do.
    """
    needed = [*NOT_NULL, *(name for name, hints in SYNC_COLUMNS.items() if not hints["nullable"])]
    needed += [collection.date_column] if collection.date_column else []
    lacking = [name for name in needed if name not in stored.column_names]
    if stored.exists and lacking:
        table_name = collection.table
        raise WarehouseError(
            f"{table_name} lacks {' and '.join(lacking)}, without which stored rows cannot be"
            " compared with Protime's. Nothing was read or changed. If a column was renamed, give"
            f" it its old name. If it was dropped, {_load_anew(table_name)}"
        )


@with_config(sections=("normalize", "parquet_normalizer"))
def _check_dlt_columns(
    stored: StoredTable,
    table_name: str,
    known_columns: TTableSchemaColumns,
    add_dlt_id: bool = False,
    add_dlt_load_id: bool = False,
) -> None:
    """Refuses to switch dlt's own columns on or off for a table that exists.

    Args:
        stored: The table.
        table_name: Its name.
        known_columns: dlt's columns of it.
        add_dlt_id: From dlt's configuration.
        add_dlt_load_id: From dlt's configuration.

    Raises:
        SettingsError: With the setting to change.
    """
    if not stored.exists:
        return
    for name, is_on in zip(_DLT_COLUMNS, (add_dlt_id, add_dlt_load_id), strict=True):
        setting = f"[normalize.parquet_normalizer] {_DLT_COLUMNS[name]}"
        has_column = name in stored.column_names
        is_required = not known_columns.get(name, {}).get("nullable", True)
        if is_on and not has_column:
            problem, remedy = f"lacks {name}, which cannot be added to its rows", "Remove"
        elif has_column and is_required and not is_on:
            problem, remedy = f"has {name}, which must not be empty", "Set"
        else:
            continue
        raise SettingsError(
            f"{table_name} {problem}: the destination would refuse each load. Nothing was read or"
            f" changed. {remedy} {setting} = true, or {_load_anew(table_name)}"
        )


def _load_anew(table_name: str) -> str:
    return (
        f"load the table anew: `protime reset {table_name}`, then run again; rows that are deleted"
        " in Protime go with it."
    )
