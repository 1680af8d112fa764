"""`protime export`: what other tools get to read of the data model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from protime_source.catalogue import COLLECTIONS
from protime_source.cli.main import main
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.warehouse import ledger, receipts
from tests.pages import table_rows

TABLES = ("absences", "absence_definitions", "people")
VIEW = "absence_definitions__allowed_durations"


def exported(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command writes to standard output; it says nothing else."""
    assert main(["export", *arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def dbt(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The source in dbt's file."""
    found = yaml.safe_load(exported(capsys, "dbt-sources", *arguments))
    assert found["version"] == 2
    [source] = found["sources"]
    return dict(source)


def data_tests(table: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        column["name"]: column["data_tests"]
        for column in table["columns"]
        if "data_tests" in column
    }


def referring_to(table_name: str) -> dict[str, Any]:
    arguments = {"to": f"source('protime', '{table_name}')", "field": "id"}
    return {"relationships": {"arguments": arguments, "config": {"severity": "warn"}}}


def test_dbt_gets_all_tables_and_views_with_descriptions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    structure = "7c1f2f0e-3b0a-4d55-9f43-0c5a6f7b8d90/1"
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", structure)
    source = dbt(capsys, "all", "--dataset", "Planning-Data")
    assert (source["name"], source["schema"]) == ("protime", "planning_data")
    views = {each.view_name(view) for each in COLLECTIONS.values() for view in each.views}
    tables = {table["name"]: table for table in source["tables"]}
    assert tables.keys() == {*COLLECTIONS, *views, ledger.TABLE}
    for table in tables.values():
        assert table["description"]
        assert all(column["description"] for column in table["columns"])


def test_dbt_tests_keys_and_every_reference_to_a_table_that_is_exported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables = {table["name"]: data_tests(table) for table in dbt(capsys, *TABLES)["tables"]}
    always = {
        "id": ["unique", "not_null"],
        "change_version": ["not_null"],
        "is_deleted": ["not_null"],
        "synced_at": ["not_null"],
    }
    assert tables["people"] == tables["absence_definitions"] == always
    assert tables["absences"] == always | {
        "person_id": [referring_to("people")],
        "resulting_absence_definition_id": [referring_to("absence_definitions")],
        "requested_absence_definition_id": [referring_to("absence_definitions")],
    }
    assert tables[VIEW] == {"absence_definition_id": [referring_to("absence_definitions")]}


def test_dbt_learns_the_cursor_and_takes_freshness_of_collections_from_the_ledger(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = dbt(capsys, "absence_definitions")
    assert "synced_at" in source["description"]
    configured = {table["name"]: table["config"] for table in source["tables"] if "config" in table}
    assert configured.keys() == {"absence_definitions"}
    config = configured["absence_definitions"]
    assert config["meta"] == {"primary_key": "id", "incremental_cursor": "synced_at"}
    assert config["freshness"] == {
        "warn_after": {"count": 48, "period": "hour"},
        "error_after": {"count": 72, "period": "hour"},
    }


def test_the_settings_say_what_is_exported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "people")
    monkeypatch.setenv("SOURCES__PROTIME__HISTORY", "true")
    monkeypatch.setenv("ACME__SOURCES__PROTIME__SENSITIVE_COLUMNS", "people.birth_date")
    for pipeline, is_loaded in (("protime", False), ("acme", True)):
        tables = {t["name"]: t for t in dbt(capsys, "--pipeline", pipeline)["tables"]}
        assert tables.keys() == {"people", "people__history", "people__versions", ledger.TABLE}
        for name in ("people", "people__history", "people__versions"):
            columns = [column["name"] for column in tables[name]["columns"]]
            assert ("birth_date" in columns) == is_loaded
        dictionary = exported(capsys, "dictionary", "--pipeline", pipeline)
        assert ("| `birth_date` |" in dictionary) == is_loaded
        assert "| `valid_to` |" in dictionary


def test_the_diagram_has_all_tables_and_every_reference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    diagram = exported(capsys, "mermaid", *TABLES)
    assert diagram.startswith("erDiagram\n")
    assert set(re.findall(r"^    (\w+)\{$", diagram, re.MULTILINE)) == {
        *TABLES,
        VIEW,
        ledger.TABLE,
    }
    assert re.findall(r"^ +(\w+ \S+ \w+) : \"(\w+)\"$", diagram, re.MULTILINE) == [
        ("absences }|--o| people", "person_id"),
        ("absences }|--o| absence_definitions", "resulting_absence_definition_id"),
        ("absences }|--o| absence_definitions", "requested_absence_definition_id"),
        (f"{VIEW} }}|--o| absence_definitions", "absence_definition_id"),
    ]


def test_the_dictionary_says_what_each_column_means_and_its_links_lead_somewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = exported(capsys, "dictionary", *TABLES)
    described = {cells[0].strip("`"): cells[2] for cells in table_rows(page)}
    for table in TABLES:
        for column in COLLECTIONS[table].columns:
            assert (column.name in described) != column.sensitive
    assert all(described.values())
    assert {*SYNC_COLUMNS, *ledger.COLUMNS, *receipts.COLUMNS} <= described.keys()
    headings = set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    assert set(re.findall(r"\]\(#(\w+)\)", page)) == {"people", "absence_definitions"} <= headings


def test_it_writes_a_file_or_says_why_it_cannot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = exported(capsys, "dictionary", "people")
    path = tmp_path / "new" / "folders" / "page.md"
    assert exported(capsys, "dictionary", "people", "--output", str(path)) == ""
    assert path.read_text(encoding="utf-8") == page
    assert main(["export", "dictionary", "--output", str(path / "page.md")]) == 2
    assert capsys.readouterr().err == (f"error: {path}/page.md cannot be written: File exists.\n")


def test_output_that_cannot_be_written_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["export", "mermaid", "people"]) == 2
    assert capsys.readouterr().err == (
        "error: The export could not be written to standard output.\n"
    )
