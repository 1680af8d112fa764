"""The pipeline's destination while one load package is extracted."""

from __future__ import annotations

from functools import cached_property, lru_cache

import dlt
from dlt.common.pipeline import TPipelineState

from protime_source.catalogue import COLLECTIONS
from protime_source.pipeline.lock import run_client
from protime_source.pipeline.overlaps import is_emptied_by_dlt
from protime_source.pipeline.packages import staged_with
from protime_source.pipeline.states import (
    NAME,
    StoredState,
    committed_state,
    forget_schemas,
    stored_states,
)
from protime_source.warehouse.dialect import Client, dialect_of
from protime_source.warehouse.staging import (
    StagedRows,
    empty_staging_tables,
    holds_others,
    read_staged_rows,
)
from protime_source.warehouse.table import refuse_pending


class Destination:
    """The pipeline's destination while one load package is extracted; each part is made once.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
    """

    def __init__(self, pipeline: dlt.Pipeline, patience_seconds: float) -> None:
        self.pipeline = pipeline
        self._patience_seconds = patience_seconds

    @cached_property
    def client(self) -> Client:
        """Dlt's client of it; nothing may be pending, or its tables do not show all that was read.

        Raises:
            WarehouseError: When a load package is pending.
        """
        refuse_pending(self.pipeline)
        return run_client(self.pipeline, self._patience_seconds)

    @cached_property
    def states(self) -> dict[str, StoredState]:
        """The states of all pipelines that loaded into the dataset.

        Without any, the dataset is new, or somebody dropped or emptied tables of dlt's. It creates
        tables only for a schema that it has not stored, so its stored schemas are forgotten.
        """
        found = stored_states(self.client)
        if not found:
            forget_schemas(self.client, [NAME])
        return found

    @cached_property
    def committed(self) -> TPipelineState | None:
        """The pipeline's state that it has."""
        return committed_state(self.pipeline, self.states)

    @cached_property
    def staged(self) -> dict[str, StagedRows]:
        """What the staging tables of the selected collections hold; nothing is asked if it costs.

        Raises:
            DestinationException: When the destination refuses.
        """
        if dialect_of(self.pipeline).is_billed:
            return {}
        selected = sorted(dlt.current.source().selected_resources.keys() & COLLECTIONS.keys())
        return {
            **{name: StagedRows() for name in selected},
            **read_staged_rows(self.client, selected),
        }

    @cached_property
    def tables_ahead(self) -> set[str]:
        """The tables that may have rows of a run that died before it could commit its state."""
        if self.committed is None:
            return set()
        staged = staged_with(None, self.committed, NAME)
        return {
            name
            for name in staged.keys() & self.staged.keys()
            if self.staged[name].count or not is_emptied_by_dlt()
            if holds_others(staged, {name: self.staged[name]})
        }

    def empty_tables_ahead(self) -> None:
        """Takes from a run that is thought dead what it has copied, so that it cannot merge it.

        Raises:
            DestinationException: When the destination refuses.
        """
        if tables := [name for name in self.tables_ahead if self.staged[name].count]:
            empty_staging_tables(self.client, tables)
            self.staged.update(dict.fromkeys(tables, StagedRows()))

    def forget(self) -> None:
        """Has all be asked for again, after a state was taken back."""
        for name in ("states", "committed", "staged", "tables_ahead"):
            self.__dict__.pop(name, None)


@lru_cache(maxsize=4)
def destination_of(pipeline: dlt.Pipeline, load_id: str, patience_seconds: float) -> Destination:
    """Returns the one that the collections of a load package share."""
    return Destination(pipeline, patience_seconds)
