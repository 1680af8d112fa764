"""Which collections and columns are loaded, and what a refusal of one means for the others."""

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
from protime_source.pipeline.load import load
from tests.command import reason, run
from tests.world import World, claims

SENSITIVE = [column for column in COLLECTIONS["people"].columns if column.sensitive]
GUID = "7c1f2f0e-3b0a-4d55-9f43-0c5a6f7b8d90"


def selected(*names: str, **settings: Any) -> set[str]:
    return set(protime(*names, **settings).selected_resources)


def without(*names: str) -> tuple[str, ...]:
    return tuple(scope for scope in ALL_SCOPES if scope.split("-protimeapi-")[1] not in names)


@pytest.mark.usefixtures("world")
def test_what_is_named_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert selected() == {"assignments"}
    assert selected("people", "access-clockings") == {"people", "access_clockings"}
    assert set(protime().with_resources("jobs").selected_resources) == {"jobs"}
    assert selected("all") == set(COLLECTIONS) - {"activity_definitions"}
    assert selected("all", activity_structures=[f"{GUID}/1"]) == set(COLLECTIONS)
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "people, contracts")
    assert selected() == {"people", "contracts"}
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", '["jobs"]')
    assert selected() == {"jobs"}
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "[jobs, sectors]")
    assert selected() == {"jobs", "sectors"}
    assert selected("sectors") == {"sectors"}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"collections": "peeple"}, "collections is 'peeple'"),
        ({"collections": "peeple"}, "catalogue` lists (did you mean people?)"),
        ({"collections": ""}, "collections is ''"),
        ({"sensitive_columns": "people.last_name"}, "sensitive_columns is 'people.last_name'"),
        (
            {"sensitive_columns": ["people.birthdate"]},
            "catalogue` lists (did you mean people.birth_date?)",
        ),
        ({"external_references": {"assignments": "people,@badge-number"}}, "pairs like"),
        ({"external_references": {"shift_definitions": "(people,@x)"}}, "of no collection"),
        ({"external_references": {"breaks": "(terminals,@external-code)"}}, "of people"),
        ({"activity_structures": "here/1"}, "GUID of a structure version"),
        ({"collections": 5}, "collections is '5'"),
        ({"activity_structures": 3}, "activity_structures is '3'"),
        ({"external_references": "(people,@x)"}, "by table"),
        ({"external_references": {"breaks": "(people,@x)(people,x)"}}, "of different names"),
        ({"tenant": 5.5}, "tenant is '5.5'"),
        ({"max_pages": 0}, "max_pages is 0, but must be a number from 1"),
        ({"max_pages": "2"}, "max_pages is '2', but must be a number from 1"),
        ({"max_bytes": 0}, "max_bytes is 0, but must be a number from 1"),
        ({"history": "sometimes"}, "history is 'sometimes', but must be true or false"),
    ],
)
def test_what_there_is_not_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        protime(**settings)
    assert told in str(caught.value)
    assert "Nothing was changed" in str(caught.value)


def test_definitions_need_a_structure(world: World) -> None:
    with pytest.raises(Exception, match="needs the setting activity_structures"):
        world.run(collections=["activity_definitions"])
    assert world.requests == 0


def test_only_the_scopes_in_use_are_asked_for(world: World) -> None:
    world.run(collections=["people", "paid_presences", "calculated_totals"])
    asked = {"connector-protimeapi-people.read", "connector-protimeapi-calculated-totals.read"}
    tokens = {request.headers["Authorization"] for request in world.tenant.api_requests}
    assert sorted(scope for each in tokens for scope in claims(each)["scope"]) == sorted(asked)


def test_a_refusal_of_all_is_an_error(world: World) -> None:
    world.tenant.behaviour = Behaviour(granted_scopes=without("people.read", "contracts.read"))
    with pytest.raises(Exception, match=r"does not give this client the scope"):
        world.run(collections=["people", "contracts"])


NOWHERE = "00000000-0000-0000-0000-000000000000/1"


def test_a_structure_that_is_not_there_does_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tables = ("assignments", "activity_definitions")
    with pytest.raises(
        RefusedCollectionsError, match="Check the setting activity_structures"
    ) as caught:
        load(world.pipeline(), collections=tables, activity_structures=NOWHERE)
    assert caught.value.tables == ("activity_definitions",)
    assert f"Check {NOWHERE} in the setting activity_structures" in caplog.text
    world.check()


def test_a_structure_that_is_not_there_is_an_error_when_there_is_nothing_else(world: World) -> None:
    with pytest.raises(Exception, match=f"Check {NOWHERE} in the setting activity_structures"):
        world.run(collections="activity_definitions", activity_structures=NOWHERE)


def test_the_script_says_which_scope_to_ask_for(world: World) -> None:
    world.tenant.behaviour = Behaviour(granted_scopes=without("absences.read"))
    told = run(world, SOURCES__PROTIME__COLLECTIONS="assignments,absences")
    assert told.returncode == 3
    line = reason(told)
    assert "absences" in line
    assert "connector-protimeapi-absences.read" in line
    assert told.stdout.splitlines()[1].startswith("assignments")


@pytest.mark.parametrize("missing", ["people-historical-data.read", "people.read"])
def test_a_history_opens_with_either_scope(world: World, missing: str) -> None:
    world.tenant.behaviour = Behaviour(granted_scopes=without(missing))
    world.run(collections=["job_histories"])
    world.check_tables("job_histories")


def test_a_history_that_neither_scope_opens_is_refused(world: World) -> None:
    missing = without("people-historical-data.read", "people.read")
    world.tenant.behaviour = Behaviour(granted_scopes=missing)
    with pytest.raises(Exception, match=r"people.*\.read"):
        world.run(collections=["job_histories"])
    asked = [r for r in world.tenant.requests if r.path == world.tenant.token_path]
    assert len(asked) == 2


def files(folder: Path) -> bytes:
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
    assert marker.encode() not in files(world.folder)
    row = next(iter(world.rows("people").values()))
    assert row["last_name"]
    assert not row.keys() & {column.name for column in SENSITIVE}


def test_what_is_named_is_loaded_and_what_is_named_no_more_is_emptied(world: World) -> None:
    world.run(collections=["people"])
    wanted = ["people.birth_date", "people.pin_code"]
    world.run(collections=["people"], sensitive_columns=wanted)
    rows = world.rows("people")
    records = world.tenant.of("people")
    assert {id_: row["pin_code"] for id_, row in rows.items()} == {
        id_: record["pinCode"] for id_, record in records.items()
    }
    assert all(row["birth_date"] for row in rows.values())
    assert "email" not in next(iter(rows.values()))
    world.run(collections=["people"])
    assert {row["birth_date"] for row in world.rows("people").values()} == {None}


def test_external_references_arrive_as_columns(
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


def test_a_reference_of_the_record_itself(world: World) -> None:
    world.run(collections=["people"], external_references={"people": "(people,@employee-number)"})
    assert {row["external_employee_number"] for row in world.rows("people").values()} == {
        f"employee-number-{id_}" for id_ in world.tenant.of("people")
    }
