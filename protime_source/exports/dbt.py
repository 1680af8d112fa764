"""The data model as a source of dbt: descriptions, tests, and freshness from the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from protime_source.api.pages import LIFETIME
from protime_source.catalogue import COLLECTIONS
from protime_source.exports.schema import described_schema
from protime_source.pipeline.states import NAME
from protime_source.settings import Settings
from protime_source.warehouse import ledger

HEADER = """\
# Made by `protime export dbt-sources`, for dbt 1.11 or newer. Do not edit it: make it anew after an
# upgrade of dlt-source-protime, and when other collections are loaded.
"""

_HOURS = int(LIFETIME.total_seconds() // 3600)

_DESCRIPTION = (
    "A Protime tenant, kept true by dlt-source-protime. Soft-deleted rows stay, with is_deleted."
    " An incremental model takes the rows whose synced_at is greater than the greatest that it"
    " has: synced_at moves with each change of a row, deletion included, and with nothing else."
    " So it does not tell whether a table is fresh: freshness is that of the last successful run,"
    f" which {ledger.TABLE} knows."
)


def dbt_sources(settings: Settings, dataset: str) -> str:
    """Returns a `sources.yml` for dbt.

    Args:
        settings: Those of a run; tenant and credentials may be missing.
        dataset: The dataset that is loaded, as a person names it.
    """
    schema = described_schema(settings)
    tables: dict[str, Any] = schema.tables
    source = {
        "name": NAME,
        "description": _DESCRIPTION,
        "schema": schema.naming.normalize_table_identifier(dataset),
        "tables": [_table(table) for name, table in tables.items() if not name.startswith("_dlt_")],
    }
    text = yaml.safe_dump(
        {"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=100
    )
    return f"{HEADER}{text}"


def _table(table: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": table["name"], "description": table["description"]}
    if table["name"] in COLLECTIONS:
        found["config"] = _config(table["name"])
    referred = {
        reference["columns"][0]: reference["referenced_table"]
        for reference in table.get("references", ())
    }
    found["columns"] = [
        _column(column, referred.get(column["name"])) for column in table["columns"].values()
    ]
    return found


def _config(table_name: str) -> dict[str, Any]:
    """Protime forgets a delta after 72 hours, so a run is due every two days."""
    return {
        "loaded_at_query": "SELECT MAX(ended_at) FROM {{ this.include(identifier=false) }}."
        f"{ledger.TABLE} WHERE table_name = '{table_name}' AND outcome = 'succeeded'",
        "freshness": {
            "warn_after": {"count": _HOURS * 2 // 3, "period": "hour"},
            "error_after": {"count": _HOURS, "period": "hour"},
        },
        "meta": {"primary_key": "id", "incremental_cursor": "synced_at"},
    }


def _column(column: Any, referred: str | None) -> dict[str, Any]:
    found = {"name": column["name"]}
    if "description" in column:
        found["description"] = column["description"]
    if tests := [*_tests(column, referred)]:
        found["data_tests"] = tests
    return found


def _tests(column: Any, referred: str | None) -> Iterator[Any]:
    if column.get("primary_key"):
        yield "unique"
    if not column.get("nullable", True):
        yield "not_null"
    if referred:
        arguments = {"to": f"source('{NAME}', '{referred}')", "field": "id"}
        # No error: Protime may show a record before, or without, the one that it refers to.
        yield {"relationships": {"arguments": arguments, "config": {"severity": "warn"}}}
