"""The relational views over a collection's array columns."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.pipeline import SupportsPipeline
from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline import trace

from protime_source.changelog import SUFFIX
from protime_source.collections import Collection
from protime_source.dialects import Dialect, dialect_of
from protime_source.lock import let_go

logger = logging.getLogger(__name__)


def ensure_views(
    client: SqlClientBase[Any], dialect: Dialect, collection: Collection, *, has_log: bool
) -> None:
    """Creates what belongs to a loaded table and is not there yet: its indexes and its views.

    Args:
        client: A client of the destination.
        dialect: The destination's.
        collection: The collection whose table is loaded.
        has_log: Whether the log of its events is loaded, too.

    Raises:
        DestinationTerminalException: When the destination refuses.
    """
    qualified = client.make_qualified_table_name
    table, log = qualified(collection.table), f"{collection.table}{SUFFIX}"
    statements = [*dialect.after_load(table, f"{collection.table}__id", "id")]
    if has_log:
        statements += dialect.after_load(qualified(log), f"{log}__id", "event_id")
    statements += [
        dialect.create_view(
            qualified(collection.view_name(view)), table, view, client.escape_column_name
        )
        for view in collection.views
    ]
    for statement in statements:
        client.execute_sql(statement)


def drop_views(pipeline: dlt.Pipeline, collection: Collection) -> None:
    """Drops a collection's views: Postgres drops no table below a view.

    Args:
        pipeline: The pipeline whose load is about to drop the collection's table.
        collection: Whose views.
    """
    with pipeline.sql_client() as client:
        if client.has_dataset():
            for view in collection.views:
                name = client.make_qualified_table_name(collection.view_name(view))
                client.execute_sql(f"DROP VIEW IF EXISTS {name}")


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
        self._dropped: set[str] = set()

    def on_end_trace_step(
        self,
        trace: Any,
        step: Any,
        pipeline: SupportsPipeline,
        step_info: Any,
        send_state: bool,
    ) -> None:
        """After a load, creates the views that are missing; when it failed, those it dropped."""
        if step.step != "load" or not isinstance(pipeline, dlt.Pipeline):
            return
        loaded = self._loaded(pipeline)
        if step.step_exception:
            loaded &= self._dropped
        mine = [collection for collection in self._collections if collection.table in loaded]
        if not mine:
            return
        dialect = dialect_of(pipeline)
        with pipeline.sql_client() as client:
            for collection in mine:
                has_log = f"{collection.table}{SUFFIX}" in loaded
                self._ensure(client, dialect, collection, has_log)
                self._dropped.discard(collection.table)

    def _ensure(
        self, client: SqlClientBase[Any], dialect: Dialect, collection: Collection, has_log: bool
    ) -> None:
        """The rows are loaded and right: that the rest failed is no reason to fail the run."""
        try:
            ensure_views(client, dialect, collection, has_log=has_log)
        except DestinationException as error:
            logger.warning(
                "%s: its index or its view could not be created: %s The next run tries again.",
                collection.table,
                " ".join(str(error).split()),
            )

    def _loaded(self, pipeline: dlt.Pipeline) -> set[str]:
        """The tables that have ever had data."""
        if self._schema not in pipeline.schemas:
            return set()
        tables = pipeline.schemas[self._schema].data_tables(seen_data_only=True)
        return {str(table["name"]) for table in tables}

    def on_start_trace(self, *_: Any) -> None:
        """Nothing to do."""

    def on_start_trace_step(self, trace: Any, step: str, pipeline: SupportsPipeline) -> None:
        """Before a load that drops tables (`refresh`), drops the views that stand on them."""
        if step != "load" or not isinstance(pipeline, dlt.Pipeline):
            return
        for load_id in pipeline.list_normalized_load_packages():
            package = pipeline.get_load_package_state(load_id)
            dropped = {table["name"] for table in package.get("dropped_tables", ())}
            for collection in self._collections:
                if collection.table in dropped:
                    drop_views(pipeline, collection)
                    self._dropped.add(collection.table)

    def on_end_trace(self, trace: Any, pipeline: SupportsPipeline, send_state: bool) -> None:
        """After a run, lets others in."""
        if isinstance(pipeline, dlt.Pipeline):
            let_go(pipeline, "source")

    def install(self) -> None:
        """Lets dlt call this keeper, which is how dlt takes in tracking modules."""
        trace.TRACKING_MODULES.append(self)
