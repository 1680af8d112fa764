"""What belongs to a loaded table: its index, and the views over its array columns."""

from __future__ import annotations

from typing import Any

from dlt.destinations.sql_client import SqlClientBase

from protime_source.catalogue.model import Collection
from protime_source.warehouse.dialect import Dialect


def ensure_views(client: SqlClientBase[Any], dialect: Dialect, collection: Collection) -> None:
    """Creates the index and views of a loaded table that do not exist yet.

    Args:
        client: A client of the destination.
        dialect: The destination's.
        collection: The collection whose table is loaded.

    Raises:
        DestinationException: When the destination refuses.
    """
    qualified = client.make_qualified_table_name
    table = qualified(collection.table)
    statements = [*dialect.create_key(table, f"{collection.table}__id")]
    statements += [
        dialect.create_view(
            qualified(collection.view_name(view)), table, view, client.escape_column_name
        )
        for view in collection.views
    ]
    for statement in statements:
        client.execute_sql(statement)
