"""The settings that name collections, columns, references and structures."""

from __future__ import annotations

from typing import Any

import pytest

from protime_source import Settings, SettingsError
from protime_source.catalogue import COLLECTIONS

STRUCTURE = "7c1f2f0e-3b0a-4d55-9f43-0c5a6f7b8d90/1"


def read(**explicit: Any) -> Settings:
    return Settings.from_config(complete=False, **explicit)


@pytest.mark.parametrize(
    ("value", "tables"),
    [
        ("people", ("people",)),
        ("people, contracts", ("people", "contracts")),
        ('["jobs"]', ("jobs",)),
        ("[jobs, sectors]", ("jobs", "sectors")),
        ("['jobs' , \"sectors\"]", ("jobs", "sectors")),
        (["jobs", "sectors"], ("jobs", "sectors")),
        ("access-clockings", ("access_clockings",)),
        ("jobs, jobs", ("jobs",)),
    ],
)
def test_collections_are_read_from_a_list_or_from_text(
    monkeypatch: pytest.MonkeyPatch, value: Any, tables: tuple[str, ...]
) -> None:
    assert read(collections=value).collections == tables
    if isinstance(value, str):
        monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", value)
        assert read().collections == tables


def test_all_includes_activity_definitions_only_with_a_structure() -> None:
    without_structure = read(collections="all").collections
    assert set(without_structure) == set(COLLECTIONS) - {"activity_definitions"}
    with_structure = read(collections="all", activity_structures=STRUCTURE).collections
    assert set(with_structure) == set(COLLECTIONS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"collections": "peeple"}, "collections is 'peeple'"),
        ({"collections": "peeple"}, "some of the collections (did you mean people?)"),
        ({"collections": ""}, "collections is ''"),
        ({"collections": 5}, "collections is '5'"),
        ({"sensitive_columns": "people.last_name"}, "sensitive_columns is 'people.last_name'"),
        (
            {"sensitive_columns": ["people.birthdate"]},
            "sensitive columns (did you mean people.birth_date?)",
        ),
        ({"external_references": {"assignments": "people,@badge-number"}}, "pairs like"),
        ({"external_references": {"shift_definitions": "(people,@x)"}}, "of no collection"),
        ({"external_references": {"breaks": "(terminals,@external-code)"}}, "of people"),
        ({"external_references": {"breaks": "(people,@x)(people,x)"}}, "of different names"),
        ({"external_references": "(people,@x)"}, "by table"),
        ({"activity_structures": "here/1"}, "GUID of a structure version"),
        ({"activity_structures": 3}, "activity_structures is '3'"),
        ({"history": "sometimes"}, "history is 'sometimes', but must be true or false"),
    ],
)
def test_an_invalid_value_is_refused_with_what_it_must_be(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**settings)
    assert message in str(caught.value)
    assert "Nothing was changed" in str(caught.value)


def test_a_collection_has_the_selected_sensitive_columns_and_excludes_the_others() -> None:
    people = read(sensitive_columns="people.birth_date, people.pin_code").collection("people")
    loaded = {column.name for column in people.columns if column.sensitive}
    assert loaded == {"birth_date", "pin_code"}
    every = {column.name for column in COLLECTIONS["people"].columns if column.sensitive}
    assert {column.name for column in people.excluded} == every - loaded


def test_a_collection_has_a_column_for_each_external_reference() -> None:
    settings = read(external_references={"assignments": "(people, @badge-number)"})
    assignments = settings.collection("assignments")
    assert assignments.requested == "(people,@badge-number)"
    assert "person_badge_number" in {column.name for column in assignments.columns}


def test_activity_definitions_are_read_once_for_each_structure_and_level() -> None:
    settings = read(activity_structures=f"{STRUCTURE}, {STRUCTURE[:-1]}2")
    assert settings.collection("activity_definitions").path_parameters == (
        {"structure_version": STRUCTURE[:-2], "level": 1},
        {"structure_version": STRUCTURE[:-2], "level": 2},
    )
    assert read().collection("activity_definitions").path_parameters == ()
