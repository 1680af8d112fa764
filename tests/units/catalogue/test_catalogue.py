"""The catalogue has everything that the documentation has, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protime_source import protime
from protime_source.catalogue import ASSIGNMENTS, COLLECTIONS
from protime_source.catalogue.model import Collection, Column, column_name
from protime_source.demo import DemoTenant
from protime_source.pipeline.source import column_hints
from protime_source.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENTED: dict[str, Any] = json.loads(
    (ROOT / "tests" / "documentation" / "collections.json").read_text(encoding="utf-8")
)
TYPES = {
    "integer": {
        "bigint",
        "double",
    },  # contracts: the older page has a number where this has an integer
    "number": {"double"},
    "string": {"text", "date"},
    "string (GUID)": {"text"},
    "boolean": {"bool"},
    "array": {"json"},
    "object": {"json"},
}
COUNT_OF_DELTAS = 18

every_collection = pytest.mark.parametrize("table", COLLECTIONS)


def covering(collection: Collection, field: str) -> Column | None:
    """The column that has a field, or the array or object that it lies in."""
    parts = field.split(".")
    paths = {".".join(parts[: count + 1]) for count in range(len(parts))}
    return next((column for column in collection.columns if column.path in paths), None)


def test_it_has_all_collections_and_no_other() -> None:
    assert {each.name for each in COLLECTIONS.values()} == set(DOCUMENTED)
    assert sum(each.has_delta for each in COLLECTIONS.values()) == COUNT_OF_DELTAS
    assert COLLECTIONS["assignments"] is ASSIGNMENTS


@every_collection
def test_it_has_every_field_with_its_type(table: str) -> None:
    collection = COLLECTIONS[table]
    for field, kind in DOCUMENTED[collection.name]["fields"].items():
        if field.endswith(".externalReferences"):
            continue  # only there when it is asked for
        column = covering(collection, field)
        assert column is not None, field
        assert column.type in TYPES[kind] | ({"json"} if column.path != field else set()), field


@every_collection
def test_it_has_no_field_that_is_not_documented(table: str) -> None:
    fields = set(DOCUMENTED[COLLECTIONS[table].name]["fields"])
    for column in COLLECTIONS[table].columns:
        assert any(field == column.path or field.startswith(f"{column.path}.") for field in fields)


@every_collection
def test_path_scope_and_filter_are_the_documented_ones(table: str) -> None:
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
def test_names_are_unique_and_said_in_a_line(table: str) -> None:
    columns = COLLECTIONS[table].columns
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.description.endswith(".") for column in columns)
    for view in COLLECTIONS[table].views:
        assert next(c for c in columns if c.name == view.column).type == "json"


@every_collection
def test_the_demo_tenant_knows_no_other_fields(table: str) -> None:
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
def test_names_are_in_snake_case(path: str, name: str) -> None:
    assert column_name(path) == name


def test_each_collection_is_a_resource(world: Any) -> None:
    source = protime()
    assert set(source.resources) == set(COLLECTIONS)
    assert set(source.selected_resources) == {"assignments"}
    settings = Settings.from_config()
    for table, resource in source.resources.items():
        hints = column_hints(settings.collection(table), settings)
        columns: Any = resource.columns
        assert set(columns) == set(hints)
        assert all(hint["description"] for hint in hints.values())
