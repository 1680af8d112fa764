"""The data model as dlt's schema, made of the settings alone: nothing is asked of anybody."""

from __future__ import annotations

from typing import Any

from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema
from dlt.common.schema.utils import new_table

from protime_source.pipeline.data_model import column_hints, describe_tables, references
from protime_source.pipeline.states import NAME
from protime_source.settings import Settings


def described_schema(settings: Settings) -> Schema:
    """Returns all tables and views of the collections that are set, with all their references.

    Args:
        settings: Those of a run; tenant and credentials may be missing.
    """
    schema = Schema(NAME)
    collections = {name: settings.collection(name) for name in settings.collections}
    for name, collection in collections.items():
        hints = column_hints(collection, settings)
        hints["id"]["primary_key"] = True
        columns: list[TColumnSchema] = [{**hint, "name": each} for each, hint in hints.items()]
        schema.update_table(new_table(name, resource=name, columns=columns))
    describe_tables(schema, history=settings.history, models=settings.models)
    for name, collection in collections.items():
        table: Any = schema.tables[name]  # where dlt stores a schema, it keeps one of each table
        table["references"] = [*references(collection.columns, collections)]
    return schema
