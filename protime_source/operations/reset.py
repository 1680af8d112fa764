"""Forgets collections: their tables and bookmarks, so that the next run loads them anew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.helpers import pipeline_drop

from protime_source.api.redaction import redacted_errors
from protime_source.catalogue import COLLECTIONS
from protime_source.errors import SettingsError
from protime_source.models.views import ensure_models, existing_models, models_reading
from protime_source.pipeline.data_model import remember_models
from protime_source.pipeline.discards import discard
from protime_source.pipeline.folder import discard_if_damaged
from protime_source.pipeline.hooks import register
from protime_source.pipeline.lock import one_run, one_run_on_dataset
from protime_source.pipeline.packages import pending_packages
from protime_source.pipeline.recovery import load_pending
from protime_source.pipeline.states import (
    NAME,
    committed_state,
    other_states,
    resource_states,
    stored_states,
)
from protime_source.pipeline.text import wrap
from protime_source.pipeline.waits import bounded_waits
from protime_source.settings import invalid_setting
from protime_source.sync.bookmark import Bookmark
from protime_source.warehouse import ledger, seen_ids
from protime_source.warehouse.dialect import (
    PATIENCE_SECONDS,
    Client,
    Dialect,
    client_of,
    dialect_of,
)
from protime_source.warehouse.history import history_name, versions_name


@dataclass(frozen=True)
class Reset:
    """What a reset dropped.

    Attributes:
        collections: The tables of the collections that are forgotten.
        tables: The tables that were dropped, histories too if wanted.
        views: The views that were dropped, models included.
        models: The models among them. What others merely add to a model, like names, is left out
            of it until they are loaded again.
        bookmarks: The tables whose bookmark was dropped.
        histories: The histories that were kept.
        ledger_rows: How many rows of the ledger were deleted.
        place: The destination, in words.
    """

    collections: tuple[str, ...]
    tables: tuple[str, ...]
    views: tuple[str, ...]
    models: tuple[str, ...]
    bookmarks: tuple[str, ...]
    histories: tuple[str, ...]
    ledger_rows: int
    place: str

    def __str__(self) -> str:
        """Returns what was dropped."""
        parts = {
            "tables dropped": self.tables,
            "views dropped": self.views,
            "bookmarks dropped": self.bookmarks,
            "ledger rows": (f"{self.ledger_rows:,} dropped",) if self.ledger_rows else (),
            "histories kept": self.histories,
        }
        lines = [
            line
            for title, names in parts.items()
            if names
            for line in wrap(f"{title + ':':<19}{', '.join(names)}", " " * 19)
        ]
        end = f"The next run loads {', '.join(self.collections)} anew."
        if self.models:
            end += " The models return with it if the setting `models` is on, else with"
            end += " `protime models`."
        if not lines:
            end = f"There was nothing to forget of {', '.join(self.collections)}."
        return "\n".join([*lines, *wrap(f"In {self.place}. {end}")])


def reset(pipeline: dlt.Pipeline, *collections: str, history: bool = False) -> Reset:
    """Forgets collections, so that the next run loads them anew.

    Drops table, views, staging table and bookmark of each, whatever pipeline loaded them, and its
    rows in the ledger. It asks Protime for nothing and needs no settings of the source, so that the
    rows of another tenant can be dropped too. What an earlier run left to load is thrown away: the
    next one asks for it again.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.
        *collections: What to forget: `"assignments", "people"` or `"all"`.
        history: Whether to drop the histories too, which nothing can bring back.

    Raises:
        SettingsError: When nothing is named, or what does not exist.
        WarehouseError: When the destination is not supported, not installed or not usable.
        PipelineStepFailed: When the destination refuses; `explain` says why.
        AlreadyRunningError: When a run is at work, on the pipeline or on the dataset.
    """
    tables = _tables(collections)
    register()
    with redacted_errors(), one_run(pipeline.working_dir), bounded_waits(pipeline):
        if discard_if_damaged(pipeline.working_dir):
            pipeline.drop()
        dialect, client = dialect_of(pipeline), client_of(pipeline)
        dialect.check(client)
        if not dialect.has_dataset(client):
            return Reset(tables, (), (), (), (), (), 0, dialect.location(client))
        with one_run_on_dataset(pipeline, PATIENCE_SECONDS):
            return _Reset(pipeline, dialect, client, tables, with_history=history).run()


def _tables(collections: Sequence[str]) -> tuple[str, ...]:
    tables = tuple(dict.fromkeys(name.replace("-", "_") for name in collections))
    if not tables:
        raise SettingsError("Name the collections to reset, or all. Nothing was changed.")
    if tables == ("all",):
        return tuple(COLLECTIONS)
    if unknown := [name for name in tables if name not in COLLECTIONS]:
        raise invalid_setting("collections", ", ".join(unknown), "all or names of collections")
    return tables


class _Reset:
    """The reset of some tables of one dataset."""

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        dialect: Dialect,
        client: Client,
        tables: tuple[str, ...],
        *,
        with_history: bool,
    ) -> None:
        self._pipeline = pipeline
        self._dialect = dialect
        self._client = client
        self._sql = client.sql_client
        self._names = tables
        self._with_history = with_history

    def run(self) -> Reset:
        """Drops all that there is. The views first: what reads them fails that, and all is kept."""
        known = [COLLECTIONS[table] for table in self._names]
        histories = self._existing(history_name(table) for table in self._names)
        dropped = self._names + (histories if self._with_history else ())
        views = [each.view_name(view) for each in known for view in each.views]
        if self._with_history:
            views += [versions_name(table) for table in self._names]
        models = self._models_reading(dropped)
        existing_views, existing_tables = self._existing(views), self._existing(dropped)
        self._drop_views((*models, *existing_views))
        bookmarks = self._drop_with_dlt()
        self._drop_views(self._models_reading(dropped))  # a load of dlt's drop creates them
        ledger_rows = self._drop_what_is_left(dropped)
        models = self._not_created_again(models)
        return Reset(
            collections=self._names,
            tables=existing_tables,
            views=(*models, *existing_views),
            models=models,
            bookmarks=bookmarks,
            histories=() if self._with_history else histories,
            ledger_rows=ledger_rows,
            place=self._dialect.location(self._client),
        )

    def _existing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those tables and views of the dataset that exist."""
        with self._sql:
            found = self._client.get_storage_tables(names)
            return tuple(name for name, columns in found if columns)

    def _models_reading(self, tables: Sequence[str]) -> tuple[str, ...]:
        with self._sql as sql:
            return models_reading(sql, self._dialect, tables)

    def _drop_views(self, names: Sequence[str]) -> None:
        self._execute(s for name in names for s in self._dialect.drop_view(self._name(name)))

    def _not_created_again(self, models: tuple[str, ...]) -> tuple[str, ...]:
        """Creates the models that do without the dropped tables, and returns the others."""
        if not models:
            return ()
        with self._sql as sql:
            existing = existing_models(ensure_models(sql, self._dialect))
        remember_models(self._pipeline, existing)
        return tuple(name for name in models if name not in existing)

    def _name(self, name: str) -> str:
        return self._sql.make_qualified_table_name(name)

    def _execute(self, statements: Iterable[str], *parameters: object) -> None:
        with self._sql as sql:
            for statement in statements:
                sql.execute_sql(statement, *parameters)

    def _drop_with_dlt(self) -> tuple[str, ...]:
        """Drops tables and bookmarks of each pipeline that loaded them; returns those it had."""
        states = stored_states(self._client)
        own = committed_state(self._pipeline, states) or self._pipeline.state
        remembered = self._remembered(own)
        self._drop_from(self._pipeline)
        for name, state in other_states(self._pipeline.pipeline_name, states).items():
            if found := self._remembered(state):
                remembered |= found
                with self._other_pipeline(name) as other:
                    self._drop_from(other)
        return tuple(table for table in self._names if remembered.get(table))

    def _remembered(self, state: Any) -> dict[str, bool]:
        """The tables that a pipeline's state knows, and whether it has a bookmark of them."""
        states = resource_states(state, NAME)
        known = {table: states[table] for table in self._names if table in states}
        return {table: Bookmark.read(each) is not None for table, each in known.items()}

    @contextmanager
    def _other_pipeline(self, name: str) -> Iterator[dlt.Pipeline]:
        """Another pipeline of the dataset, in a folder of its own: its own may be elsewhere."""
        with (
            TemporaryDirectory() as folder,
            one_run(os.path.join(self._pipeline.pipelines_dir, name)),
        ):
            try:
                yield dlt.pipeline(
                    name,
                    pipelines_dir=folder,
                    destination=self._pipeline.destination,
                    dataset_name=self._pipeline.dataset_name,
                )
            finally:
                self._pipeline.activate()

    def _drop_from(self, pipeline: dlt.Pipeline) -> None:
        committed = committed_state(pipeline, stored_states(self._client))
        if committed is not None:
            # Also without packages: the working folder may be lost, or behind the destination.
            discard(pipeline, [*pending_packages(pipeline)], committed, "collections are reset.")
        load_pending(pipeline)
        if NAME in pipeline.schemas:
            drop = pipeline_drop(pipeline, resources=self._names, schema_name=NAME)
            try:
                if not drop.is_empty:
                    drop()
            except PipelineStepFailed:
                if committed:
                    # dlt has forgotten the bookmark here, but the destination has dropped nothing.
                    discard(pipeline, [], committed, "")
                raise

    def _drop_what_is_left(self, tables: Sequence[str]) -> int:
        """Drops what dlt does not know; returns how many rows of the ledger there were."""
        with self._sql as sql:
            sql.drop_tables(*tables)
            with sql.with_staging_dataset():
                if sql.has_dataset():
                    sql.drop_tables(*self._names)
        self._delete_rows(seen_ids.TABLE, "collection")
        return self._delete_rows(ledger.TABLE, "table_name")

    def _delete_rows(self, table: str, column: str) -> int:
        """Deletes the rows of these collections, if the table exists; returns how many."""
        if not self._existing([table]):
            return 0
        names = ", ".join(["%s"] * len(self._names))
        rows = f"FROM {self._name(table)} WHERE {column} IN ({names})"
        with self._sql as sql:
            [(count,)] = sql.execute_sql(f"SELECT COUNT(*) {rows}", *self._names) or [(0,)]
            sql.execute_sql(f"DELETE {rows}", *self._names)
        return int(count)
