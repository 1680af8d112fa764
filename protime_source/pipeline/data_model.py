"""What dlt's schema says of the tables: columns and their meaning, references, and views."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterable, Iterator
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.data_types import TDataType
from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema, TTableReferenceInline
from dlt.common.schema.utils import new_table

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import NOT_NULL, Collection, Column
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.decode.tolerant import RecordDecoder
from protime_source.models import MODELS
from protime_source.models.model import Model, ModelColumn
from protime_source.pipeline.states import NAME
from protime_source.settings import Settings
from protime_source.sync.context import CollectionContext
from protime_source.warehouse import ledger
from protime_source.warehouse.history import (
    OWN_COLUMNS,
    PERIOD_COLUMNS,
    history_name,
    versions_name,
)

MODELS_HINT = "x-protime-models"
"""A table's hint in dlt's schema: whether the models are kept in the dataset."""

FIELD_HINT = "x-protime-field"
"""A column's hint in dlt's schema: the field that it holds, where Protime does not document it."""


def column_hints(collection: Collection, settings: Settings) -> dict[str, TColumnSchema]:
    """Returns dlt's hints. A hint stays in the stored schema: `hard_delete` is given both ways."""
    hints: dict[str, TColumnSchema] = {
        column.name: {
            "data_type": column.type,
            "nullable": column.name not in NOT_NULL,
            "description": column.description,
        }
        for column in collection.columns
    }
    sync_columns: dict[str, TColumnSchema] = {
        name: {
            "data_type": column["data_type"],
            "nullable": column["nullable"],
            "description": column["description"],
        }
        for name, column in SYNC_COLUMNS.items()
    }
    sync_columns["is_deleted"]["hard_delete"] = settings.deletes == "remove"
    return hints | sync_columns


def record_decoder(schema: Schema, collection: Collection, *, holds_nul: bool) -> RecordDecoder:
    """Returns a collection's decoder, which puts each undocumented field where it was put before.

    Args:
        schema: The source's.
        collection: The collection.
        holds_nul: Whether the warehouse's text can hold U+0000.
    """
    columns: Any = schema.tables.get(collection.table, {}).get("columns", {})
    return RecordDecoder(
        collection,
        schema.naming.normalize_identifier,
        holds_nul=holds_nul,
        fields={name: each[FIELD_HINT] for name, each in columns.items() if FIELD_HINT in each},
        reserved=(*OWN_COLUMNS, *PERIOD_COLUMNS),
    )


def batch_hints(batch: pa.Table, context: CollectionContext, json_type: str) -> dict[str, Any]:
    """Returns dlt's hints for the columns of a batch that are more than their types in Arrow.

    Args:
        batch: The batch.
        context: The collection that it belongs to.
        json_type: dlt's data type for JSON at the destination.
    """
    undocumented = context.builder.undocumented
    names = [name for name, kind in undocumented.items() if kind == json_type == "json"]
    if json_type != "json":
        names += [column.name for column in context.collection.columns if column.type == "json"]
    hints: dict[str, Any] = {name: {"name": name, "data_type": json_type} for name in names}
    for name in batch.column_names:
        if field := context.decoder.fields.get(name):
            hints.setdefault(name, {"name": name})[FIELD_HINT] = field
    return hints


def describe_tables(schema: Schema, *, history: bool, models: bool) -> None:
    """Adds descriptions and references to dlt's schema, and what is beside the loaded tables.

    References are set here and not as hints of a resource, because dlt never takes back one that
    was a hint, and its exports to DBML and DOT fail on one to a table that is not loaded.

    Args:
        schema: The source's, as the extraction so far has left it; it is changed.
        history: Whether the tables have a history.
        models: Whether the models are kept in the dataset.
    """
    known = [COLLECTIONS[name] for name in schema.data_table_names() if name in COLLECTIONS]
    table_names = {collection.table for collection in known}
    for collection in known:
        table: Any = schema.tables[collection.table]
        loaded = [column for column in collection.columns if column.name in table["columns"]]
        table["description"] = collection.description
        table[MODELS_HINT] = models
        table["references"] = [*_storable(references(loaded, table_names))]
        _add_views(schema, collection, table_names)
        if history:
            _add_history(schema, collection.table)
    columns = (_column(name, kind, text) for name, (kind, text) in ledger.COLUMNS.items())
    _add_readable(schema, ledger.TABLE, ledger.TABLE, "One row per run and collection.", columns)
    # Without the setting, the models stay that `protime models` has created.
    _describe_models(schema, MODELS if models else {*schema.tables})


def remember_models(pipeline: dlt.Pipeline, names: Names[str]) -> None:
    """Lets dlt know the models that the dataset has, and no others; its next load stores that.

    Args:
        pipeline: The pipeline, whose schema on this machine is changed, if it has one.
        names: The models. Without any, what an earlier run has left to load creates none either.
    """
    if NAME not in pipeline.schemas:
        return
    schema = pipeline.schemas[NAME]
    _describe_models(schema, names)
    if not names:
        tables: list[Any] = schema.data_tables()
        for table in tables:
            table.pop(MODELS_HINT, None)
    pipeline.schemas.save_schema(schema)


def references(
    columns: Iterable[Column | ModelColumn], tables: Names[str]
) -> Iterator[TTableReferenceInline]:
    """Yields a reference for each column that holds ids of a table.

    Args:
        columns: The columns.
        tables: The tables that there are.
    """
    for column in columns:
        table_name = column.refers.replace("-", "_")
        if table_name in tables:
            yield {
                "columns": [column.name],
                "referenced_table": table_name,
                "referenced_columns": ["id"],
                # To zero or one: the column may be empty.
                "cardinality": "many_to_zero",
                "label": column.name,
            }


def comments_of(schema: Schema, resources: Names[str]) -> dict[tuple[str, str], str]:
    """Returns the descriptions of tables, views and columns as comments for the destination.

    Args:
        schema: The source's.
        resources: The resources whose tables and views to describe.
    """
    tables: list[Any] = [t for t in schema.data_tables() if t.get("resource") in resources]
    described = [(table["name"], "", table) for table in tables]
    for table in tables:
        described += [(table["name"], *item) for item in table["columns"].items()]
    return {
        (name, column): hints["description"]
        for name, column, hints in described
        if hints.get("description")
    }


def _storable(
    references: Iterable[TTableReferenceInline],
) -> Iterator[TTableReferenceInline]:
    """The first reference to each table, because dlt keeps only one."""
    taken = set()
    for reference in references:
        if reference["referenced_table"] not in taken:
            taken.add(reference["referenced_table"])
            yield reference


def _add_views(schema: Schema, collection: Collection, tables: Names[str]) -> None:
    for view in collection.views:
        columns = collection.view_columns(view)
        hints = (_column(column.name, column.type, column.description) for column in columns)
        name, text = collection.view_name(view), collection.view_description(view)
        _add_readable(schema, name, collection.table, text, hints)
        schema.tables[name]["references"] = [*_storable(references(columns, tables))]


def _add_history(schema: Schema, table_name: str) -> None:
    """The history and its view have the table's columns, without what these mean for merging."""
    stored: Any = schema.get_table_columns(table_name)
    columns = [
        _column(name, column["data_type"], column.get("description"))
        for name, column in stored.items()
    ]
    change_type = _column("change_type", "text", OWN_COLUMNS["change_type"])
    recorded_at = _column("recorded_at", "timestamp", OWN_COLUMNS["recorded_at"])
    period = (_column(name, "timestamp", text) for name, text in PERIOD_COLUMNS.items())
    for name, text, all_columns in (
        (history_name, "Every stored version of each row", [*columns, change_type, recorded_at]),
        (versions_name, "The period of each version of a row", [*period, change_type, *columns]),
    ):
        description = f"{text} of {table_name}."
        _add_readable(schema, name(table_name), table_name, description, all_columns)


def _describe_models(schema: Schema, names: Names[str]) -> None:
    """Adds these models, as far as the schema has what they need, and removes all others."""
    for model in MODELS.values():
        if model.name in names and schema.tables.keys() >= {*model.needs}:
            _add_model(schema, model)
        else:
            schema.tables.pop(model.name, None)


def _add_model(schema: Schema, model: Model) -> None:
    """Adds a model, which dlt forgets with the first of the tables that it needs."""
    columns = (_column(each.name, each.type, each.description) for each in model.columns)
    resource = str(schema.tables[model.needs[0]].get("resource"))
    _add_readable(schema, model.name, resource, model.grain, columns)
    tables = COLLECTIONS.keys() & schema.tables.keys()
    schema.tables[model.name]["references"] = [*_storable(references(model.columns, tables))]


def _column(name: str, kind: TDataType, description: str | None) -> TColumnSchema:
    column: TColumnSchema = {"name": name, "data_type": kind}
    return {**column, "description": description} if description else column


def _add_readable(
    schema: Schema, name: str, resource: str, description: str, columns: Iterable[TColumnSchema]
) -> None:
    """Adds what dlt can query but does not load: it neither creates nor drops what has no data.

    Args:
        schema: The schema to add to.
        name: The table or view.
        resource: The resource with which dlt forgets it.
        description: What a row is.
        columns: Its columns.
    """
    columns = [*columns]
    table = new_table(name, resource=resource, write_disposition="skip", columns=columns)
    table["description"] = description
    schema.tables[name] = table
