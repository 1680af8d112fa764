"""The pipeline's destination while one load package is extracted."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import dlt
from dlt.common.pipeline import TPipelineState

from protime_source.pipeline.states import committed_state, other_states
from protime_source.warehouse.dialect import Client, client_of


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
        """Dlt's client of it, which costs 23 ms to make."""
        return client_of(self.pipeline, self._patience_seconds)

    @cached_property
    def committed(self) -> TPipelineState | None:
        """The pipeline's state that it has."""
        return committed_state(self.pipeline, self.client)

    @cached_property
    def others(self) -> dict[str, dict[str, Any]]:
        """The states of the other pipelines that loaded into the dataset."""
        return other_states(self.pipeline.pipeline_name, self.client)


@lru_cache(maxsize=4)
def destination_of(pipeline: dlt.Pipeline, load_id: str, patience_seconds: float) -> Destination:
    """Returns the one that the collections of a load package share."""
    return Destination(pipeline, patience_seconds)
