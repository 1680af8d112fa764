"""What dlt is told of a collection's table."""

from __future__ import annotations

from typing import Any

from dlt.common.schema.typing import TColumnSchema

from protime_source.catalogue.model import Collection
from protime_source.decode.soft_delete import MARKS, NOT_NULL
from protime_source.settings import Settings
from protime_source.sync.context import Extraction


def upsert(source_filter: str) -> Any:
    """One MERGE statement, of those staged rows that a condition lets through."""
    return {"disposition": "merge", "strategy": "upsert", "source_filter": source_filter}


def merge_hints(run: Extraction) -> dict[str, Any]:
    """What only the pipeline's destination tells: the merge filter, and hints of its own."""
    warehouse, has_version = run.warehouse, run.collection.has_version
    return {
        "write_disposition": upsert(
            warehouse.merge_filter(run.valid_since, run.foreign_until, has_version=has_version)
        ),
        "additional_table_hints": warehouse.dialect.table_hints,
    }


def json_columns(run: Extraction) -> dict[str, TColumnSchema]:
    """Columns that Arrow's types do not tell, or that this destination keeps in its own way."""
    kind, undocumented = run.warehouse.dialect.json_type, run.builder.undocumented
    names = [name for name, found in undocumented.items() if found == kind == "json"]
    if kind != "json":
        names += [column.name for column in run.collection.columns if column.type == "json"]
    return {name: {"name": name, "data_type": kind} for name in names}


def column_hints(collection: Collection, settings: Settings) -> dict[str, TColumnSchema]:
    """The hints to dlt. A hint stays in the stored schema, so `hard_delete` is said both ways."""
    columns: dict[str, TColumnSchema] = {
        column.name: {
            "data_type": column.type,
            "nullable": column.name not in NOT_NULL,
            "description": column.description,
        }
        for column in collection.columns
    }
    marks = {name: TColumnSchema(**mark) for name, mark in MARKS.items()}
    marks["is_deleted"]["hard_delete"] = settings.deletes == "remove"
    return columns | marks
