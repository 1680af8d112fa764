"""The models as views of a dataset: created where their tables are, replaced when they change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.sql_client import SqlClientBase

from protime_source.api.redaction import redact
from protime_source.models import MODELS
from protime_source.models.model import Model
from protime_source.models.render import MARK, Rendered, render
from protime_source.warehouse.dialect import Dialect, advice_on

_READ = frozenset(name for each in MODELS.values() for name in (*each.needs, *each.uses))
"""What the models read, models included."""

_NOT_OURS = (
    "The dataset has a table or view of this name that is not this package's. It was left alone:"
    " rename or drop it."
)


@dataclass(frozen=True)
class ModelOutcome:
    """What became of a model.

    Attributes:
        name: The model.
        outcome: `created`, `replaced`, `unchanged`, `dropped`; `missing` when a table that it needs
            is not loaded, or `failed`.
        text: The tables that are not loaded, or why it failed.
    """

    name: str
    outcome: Literal["created", "replaced", "unchanged", "dropped", "missing", "failed"]
    text: str = ""


def ensure_models(client: SqlClientBase[Any], dialect: Dialect) -> list[ModelOutcome]:
    """Creates the models whose tables are there, and drops those whose tables are gone.

    A model that is as it should be is left alone. One that fails does not stop the others.

    Args:
        client: An open client of the destination.
        dialect: The destination's.

    Raises:
        DestinationException: When the destination cannot be asked what it has.
    """
    return [*_replaced(client, dialect, dialect.definitions(client, _READ | MODELS.keys()))]


def existing_models(outcomes: Iterable[ModelOutcome]) -> frozenset[str]:
    """Returns the models that are there now, of what became of all."""
    there = ("created", "replaced", "unchanged")
    return frozenset(each.name for each in outcomes if each.outcome in there)


def _replaced(
    client: SqlClientBase[Any], dialect: Dialect, definitions: Mapping[str, str]
) -> Iterator[ModelOutcome]:
    existing = {name for name in definitions if name not in MODELS}
    for name, model in MODELS.items():
        definition = definitions.get(name)
        is_ours = definition is not None and MARK in definition
        try:
            if definition is not None and not is_ours:
                yield ModelOutcome(name, "failed", _NOT_OURS)
            elif missing := missing_tables(model, existing):
                if is_ours:
                    _drop(client, dialect, name)
                yield ModelOutcome(name, "dropped" if is_ours else "missing", ", ".join(missing))
            elif failed := [each for each in model.needs if each not in existing]:
                yield ModelOutcome(name, "failed", f"It needs {failed[0]}, which failed.")
            else:
                rendered = render(model, dialect.sql, existing, client.make_qualified_table_name)
                existing.add(name)
                if definition is not None and rendered.mark in definition:
                    yield ModelOutcome(name, "unchanged")
                else:
                    _create(client, dialect, rendered)
                    yield ModelOutcome(name, "replaced" if is_ours else "created")
        except DestinationException as error:
            if definition is None:
                existing.discard(name)
            text = " ".join(redact(str(error)).split())
            yield ModelOutcome(name, "failed", advice_on(text) or text)


def _create(client: SqlClientBase[Any], dialect: Dialect, rendered: Rendered) -> None:
    model = rendered.model
    name = client.make_qualified_table_name(model.name)
    client.execute_sql(dialect.replace_view(name, rendered.columns, rendered.query))
    comments = {(model.name, column.name): column.description for column in model.columns}
    dialect.write_comments(client, {(model.name, ""): model.grain, **comments})


def _drop(client: SqlClientBase[Any], dialect: Dialect, name: str) -> None:
    for statement in dialect.drop_view(client.make_qualified_table_name(name)):
        client.execute_sql(statement)


def remove_models(client: SqlClientBase[Any], dialect: Dialect) -> tuple[str, ...]:
    """Drops the models that are there, and nothing of somebody else's; returns their names.

    Args:
        client: An open client of the destination.
        dialect: The destination's.

    Raises:
        DestinationException: When the destination refuses.
    """
    names = (*reversed(_own_models(client, dialect)),)
    for name in names:
        _drop(client, dialect, name)
    return names


def models_reading(
    client: SqlClientBase[Any], dialect: Dialect, tables: Collection[str]
) -> tuple[str, ...]:
    """Returns the models that are there and read one of some tables, the last one first.

    Args:
        client: An open client of the destination.
        dialect: The destination's.
        tables: The tables.

    Raises:
        DestinationException: When the destination refuses.
    """
    read = {*tables}
    for name, model in MODELS.items():
        if not read.isdisjoint((*model.needs, *model.uses)):
            read.add(name)
    return tuple(name for name in reversed(_own_models(client, dialect)) if name in read)


def _own_models(client: SqlClientBase[Any], dialect: Dialect) -> list[str]:
    """Those that are there, without views of somebody else that are called like one."""
    definitions = dialect.definitions(client, MODELS)
    return [name for name in MODELS if MARK in definitions.get(name, "")]


def missing_tables(model: Model, existing: set[str]) -> tuple[str, ...]:
    """Returns the tables without which there is no model, as far as they are not there.

    Args:
        model: The model.
        existing: The tables that are there.
    """
    missing: dict[str, None] = {}
    for name in model.needs:
        if name in MODELS:
            missing |= dict.fromkeys(missing_tables(MODELS[name], existing))
        elif name not in existing:
            missing[name] = None
    return tuple(missing)
