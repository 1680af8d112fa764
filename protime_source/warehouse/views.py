"""What belongs to a loaded table: indexes, and the views over its array columns."""

from __future__ import annotations

from typing import Any

from dlt.destinations.sql_client import SqlClientBase

from protime_source.catalogue.model import Collection

SUFFIX = "__changes"
from protime_source.warehouse.dialect import Dialect


def ensure_views(
    client: SqlClientBase[Any], dialect: Dialect, collection: Collection, *, has_history: bool
) -> None:
    """Creates what belongs to a loaded table and is not there yet: its indexes and its views.

    Args:
        client: A client of the destination.
        dialect: The destination's.
        collection: The collection whose table is loaded.
        has_history: Whether the log of its events is loaded, too.

    Raises:
        DestinationTerminalException: When the destination refuses.
    """
    qualified = client.make_qualified_table_name
    table, log = qualified(collection.table), f"{collection.table}{SUFFIX}"
    statements = [*dialect.after_load(table, f"{collection.table}__id", "id")]
    if has_history:
        statements += dialect.after_load(qualified(log), f"{log}__id", "event_id")
    statements += [
        dialect.create_view(
            qualified(collection.view_name(view)), table, view, client.escape_column_name
        )
        for view in collection.views
    ]
    for statement in statements:
        client.execute_sql(statement)


def drop_views(client: SqlClientBase[Any], collection: Collection) -> None:
    """Drops a collection's views: Postgres drops no table below a view.

    Args:
        client: A client of the destination.
        collection: Whose views.
    """
    if client.has_dataset():
        for view in collection.views:
            name = client.make_qualified_table_name(collection.view_name(view))
            client.execute_sql(f"DROP VIEW IF EXISTS {name}")
