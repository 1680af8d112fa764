"""The catalogue agrees with Protime's documentation, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protime_source import protime
from protime_source.catalogue import ASSIGNMENTS, COLLECTIONS
from protime_source.catalogue.model import Collection, Column, column_name
from protime_source.demo import DemoTenant
from protime_source.pipeline.data_model import column_hints
from protime_source.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENTED: dict[str, Any] = json.loads(
    (ROOT / "tests" / "documentation" / "collections.json").read_text(encoding="utf-8")
)
TYPES = {
    # "double": the older page of contracts has a number where the newer one has an integer.
    "integer": {"bigint", "double"},
    "number": {"double"},
    "string": {"text", "date"},
    "string (GUID)": {"text"},
    "boolean": {"bool"},
    "array": {"json"},
    "object": {"json"},
}
DELTA_COLLECTIONS = 18

every_collection = pytest.mark.parametrize("table", COLLECTIONS)


def column_of(collection: Collection, field: str) -> Column | None:
    """The column that holds a field, or holds the array or object around the field."""
    parts = field.split(".")
    paths = {".".join(parts[: count + 1]) for count in range(len(parts))}
    return next((column for column in collection.columns if column.path in paths), None)


def test_the_catalogue_has_exactly_the_documented_collections() -> None:
    assert {each.name for each in COLLECTIONS.values()} == set(DOCUMENTED)
    assert sum(each.has_delta for each in COLLECTIONS.values()) == DELTA_COLLECTIONS
    assert COLLECTIONS["assignments"] is ASSIGNMENTS


@every_collection
def test_every_documented_field_has_a_column_of_its_type(table: str) -> None:
    collection = COLLECTIONS[table]
    for field, kind in DOCUMENTED[collection.name]["fields"].items():
        if field.endswith(".externalReferences"):
            continue  # sent only on request
        column = column_of(collection, field)
        assert column is not None, field
        assert column.type in TYPES[kind] | ({"json"} if column.path != field else set()), field


@every_collection
def test_every_column_is_documented(table: str) -> None:
    fields = set(DOCUMENTED[COLLECTIONS[table].name]["fields"])
    for column in COLLECTIONS[table].columns:
        assert any(field == column.path or field.startswith(f"{column.path}.") for field in fields)


@every_collection
def test_path_scopes_and_date_filter_are_as_documented(table: str) -> None:
    collection = COLLECTIONS[table]
    documented = DOCUMENTED[collection.name]
    path = documented["path"].replace("{structureVersionId}", "{structure_version}")
    assert collection.path == path
    scope = documented["scope"] or f"connector-protimeapi-{collection.name}.read"
    assert set(collection.read_scopes) == set(scope.split(" or "))
    assert (collection.has_delta, bool(collection.date_column)) == (
        documented["delta"],
        documented["dated"],
    )


@every_collection
def test_column_names_are_unique_and_described(table: str) -> None:
    columns = COLLECTIONS[table].columns
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.description.endswith(".") for column in columns)
    for view in COLLECTIONS[table].views:
        assert next(c for c in columns if c.name == view.column).type == "json"


@every_collection
def test_the_demo_tenant_sends_only_fields_of_the_catalogue(table: str) -> None:
    collection, tenant = COLLECTIONS[table], DemoTenant(rows=200)
    names = [name for name in tenant.collections if name.endswith(collection.name)]
    known = {column.path.partition(".")[0] for column in collection.columns}
    for name in names if table != "clockings" else ["clockings"]:
        records = tenant.of(name)
        assert records
        assert all(record.keys() <= known for record in records.values())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("person.id", "person_id"),
        ("countryISOCode", "country_iso_code"),
        ("weeklyHours1DurationInMinutes", "weekly_hours1_duration_in_minutes"),
        ("terminalLanguageISOCode", "terminal_language_iso_code"),
    ],
)
def test_column_names_are_in_snake_case(path: str, name: str) -> None:
    assert column_name(path) == name


def test_each_collection_is_a_resource_with_described_columns(world: Any) -> None:
    source = protime()
    assert set(source.resources) == set(COLLECTIONS)
    assert set(source.selected_resources) == {"assignments"}
    settings = Settings.from_config()
    for table, resource in source.resources.items():
        hints = column_hints(settings.collection(table), settings)
        columns: Any = resource.columns
        assert set(columns) == set(hints)
        assert all(hint["description"] for hint in hints.values())
