"""Creates, replaces or drops the analysts' models of a dataset, without a load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dlt

from protime_source.api.redaction import redacted_errors
from protime_source.errors import WarehouseError
from protime_source.models.views import (
    ModelOutcome,
    ensure_models,
    existing_models,
    remove_models,
)
from protime_source.pipeline.data_model import remember_models
from protime_source.pipeline.hooks import register
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.text import wrap
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of

_WORDS = {
    "created": "created",
    "replaced": "replaced, because its definition changed",
    "unchanged": "as it should be",
    "dropped": "dropped",
    "missing": "not there",
    "failed": "failed",
}


@dataclass(frozen=True)
class Models:
    """The models of a dataset.

    Attributes:
        outcomes: What became of each model.
        place: The destination, in words.
    """

    outcomes: tuple[ModelOutcome, ...]
    place: str

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the destination when a model failed."""
        has_failed = any(each.outcome == "failed" for each in self.outcomes)
        return WarehouseError.exit_code if has_failed else 0

    def __str__(self) -> str:
        """Returns a line for each model, in 100 columns."""
        if not self.outcomes:
            return "\n".join(wrap(f"There are no models in {self.place}."))
        width = max(len(each.name) for each in self.outcomes)
        lines = []
        for each in self.outcomes:
            needs = "it needs " if each.outcome in ("dropped", "missing") else ""
            text = ": ".join(filter(None, [_WORDS[each.outcome], each.text and needs + each.text]))
            lines += wrap(f"{each.name:<{width}}  {text}", " " * (width + 2))
        return "\n".join([*lines, *wrap(f"In {self.place}.")])


def create_models(pipeline: dlt.Pipeline) -> Models:
    """Creates the models whose tables are loaded, and replaces those whose definition changed.

    A model whose tables are gone is dropped. Protime is asked for nothing.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.

    Raises:
        WarehouseError: When the destination is not supported, not installed or not usable.
        DestinationException: When the destination refuses; `explain` says why.
    """
    with _warehouse(pipeline) as (dialect, client):
        with client.sql_client as sql:
            outcomes = tuple(ensure_models(sql, dialect))
        remember_models(pipeline, existing_models(outcomes))
        return Models(outcomes, dialect.location(client))


def drop_models(pipeline: dlt.Pipeline) -> Models:
    """Drops the models. Tables, and views of somebody else that are called like one, stay.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.

    Raises:
        WarehouseError: When the destination is not supported, not installed or not usable.
        DestinationException: When the destination refuses; `explain` says why.
    """
    with _warehouse(pipeline) as (dialect, client):
        with client.sql_client as sql:
            dropped = remove_models(sql, dialect)
        remember_models(pipeline, ())
        outcomes = tuple(ModelOutcome(name, "dropped") for name in dropped)
        return Models(outcomes, dialect.location(client))


@contextmanager
def _warehouse(pipeline: dlt.Pipeline) -> Iterator[tuple[Dialect, Client]]:
    """The destination of a pipeline.

    Raises:
        WarehouseError: When nothing was ever loaded there.
        AlreadyRunningError: When a run of the pipeline is at work.
    """
    register()
    with redacted_errors(), one_run(pipeline.working_dir):
        dialect, client = dialect_of(pipeline), client_of(pipeline)
        dialect.check(client)
        if not dialect.has_dataset(client):
            raise WarehouseError(
                f"There is nothing to make models of: {dialect.location(client)} does not exist."
                " Nothing was changed. Run `protime run` first."
            )
        yield dialect, client
