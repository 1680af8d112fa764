"""The SQL of a model for one engine and dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache

import sqlglot
from sqlglot import exp

from protime_source.catalogue import COLLECTIONS
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.models import MODELS
from protime_source.models.model import Model

SOURCE = "bigquery"
"""The dialect that the models are written in."""

MARK = "protime_model_"
"""How the name begins that each model's outermost query has: who made it, and from what."""

_TYPES = {
    "bigint": "INT64",
    "text": "STRING",
    "bool": "BOOL",
    "date": "DATE",
    "double": "FLOAT64",
    "timestamp": "TIMESTAMP",
    "json": "STRING",
}


@dataclass(frozen=True)
class Rendered:
    """A model for one engine and dataset.

    Attributes:
        model: The model.
        columns: The engine's types of its columns, by name.
        query: The engine's SQL.
        mark: What the query contains and no other one.
    """

    model: Model
    columns: Mapping[str, str]
    query: str
    mark: str


def render(
    model: Model, engine: str, existing: Collection[str], qualified: Callable[[str], str]
) -> Rendered:
    """Returns a model for an engine and dataset.

    Args:
        model: The model.
        engine: Sqlglot's name of the engine's SQL.
        existing: The tables and views that are there; of those that the model merely uses, the
            others are taken for empty.
        qualified: Returns the quoted, qualified name of a table.
    """
    tree = _parsed(model.query).copy()
    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in [*tree.find_all(exp.Table)]:
        if isinstance(table.this, exp.Identifier) and table.name not in local:
            is_there = table.name in existing
            found: exp.Expr = (
                exp.to_table(qualified(table.name), dialect=engine)
                if is_there
                else _empty(table.name, tree)
            )
            table.replace(exp.alias_(found, table.alias_or_name, table=True))
    types = {column.name: _type(column.type, engine) for column in model.columns}
    casts = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in types.items())
    if engine == "postgres":
        tree = tree.transform(_for_postgres)
    body = tree.sql(dialect=engine)
    described = repr((casts, body, model.grain, model.columns))
    mark = MARK + hashlib.sha256(described.encode()).hexdigest()[:12]
    return Rendered(model, types, f"SELECT {casts} FROM ({body}) AS {mark}", mark)


@cache
def _parsed(query: str) -> exp.Expr:
    return sqlglot.parse_one(query, read=SOURCE)


def _type(kind: str, engine: str) -> str:
    return exp.DataType.build(_TYPES[kind], dialect=SOURCE).sql(dialect=engine)


def _empty(name: str, tree: exp.Expr) -> exp.Subquery:
    """A table without rows that has the columns which the query takes from it."""
    types = _column_types(name)
    used = sorted({column.name for column in tree.find_all(exp.Column) if column.table == name})
    columns = ", ".join(f"CAST(NULL AS {_TYPES[types[each]]}) AS {each}" for each in used)
    query = f"SELECT {columns} FROM (SELECT 1 AS one) AS nothing WHERE FALSE"
    return exp.Subquery(this=sqlglot.parse_one(query, read=SOURCE))


def _column_types(name: str) -> dict[str, str]:
    if name in MODELS:
        return {column.name: column.type for column in MODELS[name].columns}
    types: dict[str, str] = {column.name: column.type for column in COLLECTIONS[name].columns}
    return types | {name: column["data_type"] for name, column in SYNC_COLUMNS.items()}


def _for_postgres(node: exp.Expr) -> exp.Expr:
    """Rewrites what sqlglot leaves: Postgres has no `DATETIME`, and its series are rows already."""
    if isinstance(node, exp.Datetime):
        return exp.AtTimeZone(this=node.this, zone=node.expression)
    if isinstance(node, exp.Unnest):
        (number,) = node.args["alias"].columns
        return exp.Table(this=node.expressions[0], alias=exp.TableAlias(this=number))
    return node
