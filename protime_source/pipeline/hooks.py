"""What is done before and after each of dlt's loads, and after each run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.pipeline import SupportsPipeline
from dlt.common.storages.load_package import TLoadPackageState
from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline import trace

from protime_source.catalogue.model import Collection
from protime_source.pipeline.lock import let_go
from protime_source.sync.history import SUFFIX
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of
from protime_source.warehouse.views import drop_views, ensure_views

logger = logging.getLogger(__name__)


class Keeper(ModuleType):
    """What dlt calls before and after each load, also that of a pending package.

    A resource cannot do it: when it runs for the first time, the table does not exist, and when
    its load begins it has ended.

    Args:
        schema: dlt's name of the source's schema.
        collections: The collections whose views to keep.
    """

    def __init__(self, schema: str, *collections: Collection) -> None:
        super().__init__(__name__)
        self._schema = schema
        self._collections = collections
        self._dropped: set[str] = set()
        self._loads: dict[int, tuple[Client, ExitStack]] = {}

    def install(self) -> None:
        """Lets dlt call this keeper, in place of the one of an earlier import."""
        modules = trace.TRACKING_MODULES
        others = [each for each in modules if getattr(each, "__name__", "") != self.__name__]
        trace.TRACKING_MODULES[:] = [*others, self]

    def on_start_trace(self, *_: Any) -> None:
        """Nothing to do."""

    def on_start_trace_step(self, trace: Any, step: str, pipeline: SupportsPipeline) -> None:
        """Before a load, keeps the destination open, and drops views that stand in the way."""
        if step != "load" or not isinstance(pipeline, dlt.Pipeline):
            return
        waiting = pipeline.list_normalized_load_packages()
        if waiting and self._schema in pipeline.schemas:
            client, kept_open = client_of(pipeline), ExitStack()
            kept_open.enter_context(dialect_of(pipeline).kept_open(client))
            self._loads[id(pipeline)] = client, kept_open
            self._drop_views(client, map(pipeline.get_load_package_state, waiting))

    def on_end_trace_step(
        self,
        trace: Any,
        step: Any,
        pipeline: SupportsPipeline,
        step_info: Any,
        send_state: bool,
    ) -> None:
        """After a load, creates the views that are missing; when it failed, those it dropped."""
        if not isinstance(pipeline, dlt.Pipeline) or step.step != "load":
            return
        if id(pipeline) in self._loads:
            client, kept_open = self._loads.pop(id(pipeline))
            with kept_open:
                self._ensure_views(pipeline, client, has_failed=bool(step.step_exception))

    def on_end_trace(self, trace: Any, pipeline: SupportsPipeline, send_state: bool) -> None:
        """After a run, lets others in."""
        if isinstance(pipeline, dlt.Pipeline):
            let_go(pipeline.working_dir, "source")

    def _drop_views(self, client: Client, states: Iterable[TLoadPackageState]) -> None:
        """A load that drops tables (`refresh`) cannot while views stand on them."""
        dropped = {table["name"] for state in states for table in state.get("dropped_tables", ())}
        if mine := self._among(dropped):
            with client.sql_client as sql:
                for collection in mine:
                    drop_views(sql, collection)
                    self._dropped.add(collection.table)

    def _ensure_views(self, pipeline: dlt.Pipeline, client: Client, *, has_failed: bool) -> None:
        loaded = self._loaded(pipeline)
        if has_failed:
            loaded &= self._dropped
        if mine := self._among(loaded):
            dialect = dialect_of(pipeline)
            with client.sql_client as sql:
                for collection in mine:
                    has_log = f"{collection.table}{SUFFIX}" in loaded
                    _ensure(sql, dialect, collection, has_log)
                    self._dropped.discard(collection.table)

    def _among(self, tables: Set[str | None]) -> list[Collection]:
        """The collections that some tables belong to."""
        return [collection for collection in self._collections if collection.table in tables]

    def _loaded(self, pipeline: dlt.Pipeline) -> set[str]:
        """The tables that have ever had data."""
        tables = pipeline.schemas[self._schema].data_tables(seen_data_only=True)
        return {str(table["name"]) for table in tables}


def _ensure(
    client: SqlClientBase[Any], dialect: Dialect, collection: Collection, has_log: bool
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
