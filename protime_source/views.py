"""The relational views over a collection's array columns."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import dlt
from dlt.common.pipeline import SupportsPipeline
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline import trace

from protime_source.collections import Collection, ColumnType, LevelsView

_TYPES: dict[ColumnType, str] = {"bigint": "BIGINT", "text": "VARCHAR"}


def ensure_views(pipeline: dlt.Pipeline, collection: Collection) -> None:
    """Creates the views of a collection that are not there yet.

    Args:
        pipeline: The pipeline that has loaded the collection's table.
        collection: Whose views.

    Raises:
        DestinationTerminalException: When the destination refuses.
    """
    with pipeline.sql_client() as client:
        for view in collection.views:
            if not _exists(client, view.name):
                client.execute_sql(_create(client, collection, view))


def _exists(client: SqlClientBase[Any], view: str) -> bool:
    try:
        client.execute_sql(f"SELECT 1 FROM {client.make_qualified_table_name(view)} WHERE 1 = 0")
    except DatabaseUndefinedRelation:
        return False
    return True


def _create(client: SqlClientBase[Any], collection: Collection, view: LevelsView) -> str:
    """Every column gets its `AS`: `level` is a keyword to DuckDB."""
    columns = ", ".join(
        f"CAST(l.entry ->> '$.{path}' AS {_TYPES[kind]}) AS {client.escape_column_name(name)}"
        for name, path, kind in view.columns
    )
    table = client.make_qualified_table_name(collection.table)
    return (
        f"CREATE OR REPLACE VIEW {client.make_qualified_table_name(view.name)} AS"
        f" SELECT t.id AS {view.key}, {columns} FROM {table} t,"
        f" LATERAL (SELECT UNNEST(TRY_CAST(t.{view.column} AS JSON[])) AS entry) l"
    )


class ViewKeeper(ModuleType):
    """Keeps the views there: dlt calls it after each load, also one of a pending package.

    A resource cannot do it: when it runs for the first time, the table does not exist.

    Args:
        schema: dlt's name of the source's schema.
        collections: The collections whose views to keep.
    """

    def __init__(self, schema: str, *collections: Collection) -> None:
        super().__init__(__name__)
        self._schema = schema
        self._collections = collections

    def on_end_trace_step(
        self,
        trace: Any,
        step: Any,
        pipeline: SupportsPipeline,
        step_info: Any,
        send_state: bool,
    ) -> None:
        """After a load of this source, creates the views that are missing."""
        if step.step != "load" or step.step_exception or not isinstance(pipeline, dlt.Pipeline):
            return
        for collection in self._collections:
            if self._is_loaded(pipeline, collection):
                ensure_views(pipeline, collection)

    def _is_loaded(self, pipeline: dlt.Pipeline, collection: Collection) -> bool:
        if self._schema not in pipeline.schemas:
            return False
        tables = pipeline.schemas[self._schema].data_tables(seen_data_only=True)
        return any(table["name"] == collection.table for table in tables)

    def on_start_trace(self, *_: Any) -> None:
        """Nothing to do."""

    def on_start_trace_step(self, *_: Any) -> None:
        """Nothing to do."""

    def on_end_trace(self, *_: Any) -> None:
        """Nothing to do."""

    def install(self) -> None:
        """Lets dlt call this keeper, which is how dlt takes in tracking modules."""
        trace.TRACKING_MODULES.append(self)
