"""Exactly the selected collections and columns are loaded, with only the scopes they need."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from protime_source import RefusedCollectionsError, SettingsError, protime
from protime_source.catalogue import COLLECTIONS
from protime_source.demo import Behaviour
from protime_source.demo.behaviour import ALL_SCOPES
from tests.command import reason, run_here
from tests.world import World, claims

SENSITIVE = [column for column in COLLECTIONS["people"].columns if column.sensitive]
UNKNOWN_STRUCTURE = "00000000-0000-0000-0000-000000000000/1"


def selected(*names: str, **settings: Any) -> set[str]:
    return set(protime(*names, **settings).selected_resources)


def all_scopes_except(*names: str) -> tuple[str, ...]:
    return tuple(scope for scope in ALL_SCOPES if scope.split("-protimeapi-")[1] not in names)


def test_the_selection_in_code_wins_over_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert selected() == {"assignments"}
    assert selected("people", "access-clockings") == {"people", "access_clockings"}
    assert set(protime().with_resources("jobs").selected_resources) == {"jobs"}
    assert selected("all") == set(COLLECTIONS) - {"activity_definitions"}
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "people, contracts")
    assert selected() == {"people", "contracts"}
    assert selected("sectors") == {"sectors"}


@pytest.mark.parametrize("limit", ["max_pages", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, "2", True])
def test_a_limit_must_be_a_number_from_1(limit: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        protime(**{limit: value})
    assert str(caught.value) == (
        f"The setting {limit} is {value!r}, but must be a number from 1. Nothing was changed."
    )


def test_activity_definitions_need_a_structure(world: World) -> None:
    with pytest.raises(Exception, match="needs the setting activity_structures"):
        world.run(collections=["activity_definitions"])
    assert world.requests == 0


def test_only_the_scopes_of_the_selected_collections_are_requested(world: World) -> None:
    world.run(collections=["people", "paid_presences", "calculated_totals"])
    expected = {"connector-protimeapi-people.read", "connector-protimeapi-calculated-totals.read"}
    tokens = {request.headers["Authorization"] for request in world.tenant.api_requests}
    assert sorted(scope for each in tokens for scope in claims(each)["scope"]) == sorted(expected)


def test_the_run_fails_when_all_collections_are_refused(world: World) -> None:
    world.tenant.behaviour = Behaviour(
        granted_scopes=all_scopes_except("people.read", "contracts.read")
    )
    with pytest.raises(Exception, match=r"does not give this client the scope"):
        world.run(collections=["people", "contracts"])


def test_load_loads_the_others_when_a_structure_is_unknown(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tables = ("assignments", "activity_definitions")
    with pytest.raises(
        RefusedCollectionsError, match="Check the setting activity_structures"
    ) as caught:
        world.load(collections=tables, activity_structures=UNKNOWN_STRUCTURE)
    assert caught.value.tables == ("activity_definitions",)
    assert f"Check {UNKNOWN_STRUCTURE} in the setting activity_structures" in caplog.text
    world.check()


def test_the_run_fails_when_its_only_structure_is_unknown(world: World) -> None:
    with pytest.raises(
        Exception, match=f"Check {UNKNOWN_STRUCTURE} in the setting activity_structures"
    ):
        world.run(collections="activity_definitions", activity_structures=UNKNOWN_STRUCTURE)


def test_the_command_names_the_missing_scope(world: World) -> None:
    world.tenant.behaviour = Behaviour(granted_scopes=all_scopes_except("absences.read"))
    failed = run_here(world, SOURCES__PROTIME__COLLECTIONS="assignments,absences")
    assert failed.returncode == 3
    line = reason(failed)
    assert "absences" in line
    assert "connector-protimeapi-absences.read" in line
    assert failed.stdout.splitlines()[1].startswith("assignments")


@pytest.mark.parametrize("missing", ["people-historical-data.read", "people.read"])
def test_a_history_is_read_with_either_scope(world: World, missing: str) -> None:
    world.tenant.behaviour = Behaviour(granted_scopes=all_scopes_except(missing))
    world.run(collections=["job_histories"])
    world.check_tables("job_histories")


def test_a_history_is_refused_when_both_scopes_are(world: World) -> None:
    missing = all_scopes_except("people-historical-data.read", "people.read")
    world.tenant.behaviour = Behaviour(granted_scopes=missing)
    with pytest.raises(Exception, match=r"people.*\.read"):
        world.run(collections=["job_histories"])
    asked = [r for r in world.tenant.requests if r.path == world.tenant.token_path]
    assert len(asked) == 2


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_sensitive_values_reach_neither_disk_nor_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    marker = "Zx9Qv7"
    for id_, record in list(world.tenant.of("people").items()):
        secret = {c.path: f"{marker}{c.name}" for c in SENSITIVE if c.type == "text"}
        older = {"countryIsoCode": f"{marker}country", "NationalityIsoCode": f"{marker}nation"}
        world.tenant.write("people", id_, {**record, **secret, **older, "birthDate": f"{marker}x"})
    world.run(collections=["people"], history=True)
    world.tenant.change_other("people", 5)
    world.tenant.behaviour = Behaviour(delete_payload=True)
    world.tenant.write("people", next(iter(world.tenant.of("people"))), None)
    world.run(collections=["people"], history=True)
    assert marker not in caplog.text
    assert marker.encode() not in all_bytes(world.folder)
    row = next(iter(world.rows("people").values()))
    assert row["last_name"]
    assert not row.keys() & {column.name for column in SENSITIVE}


def test_a_sensitive_column_is_loaded_while_selected_and_emptied_after(world: World) -> None:
    """Also in a collection without a delta."""
    tables = ["people", "employers"]
    world.run(collections=["people"])
    wanted = ["people.birth_date", "people.pin_code", "employers.bank_account"]
    world.run(collections=tables, sensitive_columns=wanted)
    rows = world.rows("people")
    records = world.tenant.of("people")
    assert {id_: row["pin_code"] for id_, row in rows.items()} == {
        id_: record["pinCode"] for id_, record in records.items()
    }
    assert all(row["birth_date"] for row in rows.values())
    assert "email" not in next(iter(rows.values()))
    assert any(row["bank_account"] for row in world.rows("employers").values())
    world.run(collections=tables)
    assert {row["birth_date"] for row in world.rows("people").values()} == {None}
    assert {row["bank_account"] for row in world.rows("employers").values()} == {None}
    before = world.rows("employers")
    world.run(collections=tables)
    assert world.rows("employers") == before


def test_external_references_are_loaded_as_columns(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    both = "(people,@badge-number)(activity-definitions,@data-entry-code)"
    monkeypatch.setenv("SOURCES__PROTIME__ASSIGNMENTS__EXTERNAL_REFERENCES", both)
    world.run()
    world.tenant.churn(20)
    world.run()
    rows = world.live()
    for row in rows.values():
        assert row["person_badge_number"] == f"badge-number-{row['person_id']}"
        for level in json.loads(row["activity_levels"] or "[]"):
            references = level["activityDefinition"]["externalReferences"]
            assert references.keys() == {"@data-entry-code"}
    assert rows.keys() == world.tenant.records.keys()
    assert caplog.messages == []


def test_an_external_reference_of_the_record_itself_is_a_column(world: World) -> None:
    world.run(collections=["people"], external_references={"people": "(people,@employee-number)"})
    assert {row["external_employee_number"] for row in world.rows("people").values()} == {
        f"employee-number-{id_}" for id_ in world.tenant.of("people")
    }
