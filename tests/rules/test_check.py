"""What is right and wrong is said before the first row; nothing is changed and no delta starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from protime_source import Check, check
from protime_source.demo import Behaviour, Fault
from tests.command import fits, run_here
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.world import World


def files(world: World) -> dict[str, tuple[int, int]]:
    """Every file of the test, with its size and when it was written."""
    found = {path: path.stat() for path in world.folder.rglob("*") if path.is_file()}
    return {str(path): (each.st_size, each.st_mtime_ns) for path, each in found.items()}


def checked(world: World, pipeline: dlt.Pipeline | None = None, **settings: Any) -> Check:
    """A check that has changed nothing, started no delta and shown no secret."""
    pipeline = pipeline or world.pipeline()
    before = files(world)
    world.tenant.requests.clear()
    found = check(pipeline, **settings)
    assert files(world) == before
    assert not any("delta" in each.path + each.query for each in world.tenant.requests)
    text = str(found)
    assert fits(text)
    assert "demo-secret" not in text
    return found


def line(found: Check, name: str) -> tuple[str, str]:
    """The outcome and the text of the one line with this name."""
    [only] = [each for each in found.lines if each.name == name]
    return only.outcome, only.text


@every_engine
def test_before_and_after_the_first_run_all_is_well(world: World) -> None:
    first = checked(world)
    assert (first.problems, first.exit_code) == ((), 0)
    assert line(first, "assignments") == ("ok", "readable")
    assert line(first, "scope") == ("ok", "connector-protimeapi-assignments.read")
    assert not [*world.folder.glob("*.duckdb*")]
    assert not world.engine.holds("_dlt_version")
    world.run()
    world.tenant.churn(5)
    assert checked(world).exit_code == 0
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1, "the delta has been left alone"
    world.check()


def test_each_collection_is_asked_for_one_page(world: World) -> None:
    found = checked(world, collections="all")
    assert found.exit_code == 0
    readable = [each.name for each in found.lines if each.text == "readable"]
    assert len(readable) == world.requests == 30


def test_each_setting_says_where_it_is_from(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCES__PROTIME__CLIENT_SECRET")
    Path(".dlt").mkdir()
    Path(".dlt/secrets.toml").write_text(
        '[sources.protime]\nclient_secret = "demo-secret"\n', encoding="utf-8"
    )
    with Container().injectable_context(PluggableRunContext()):
        found = checked(world, company="Acme")
    assert found.exit_code == 0
    assert line(found, "tenant") == ("ok", "demo (environment variable SOURCES__PROTIME__TENANT)")
    assert line(found, "company") == ("ok", "Acme (argument)")
    secret = "hidden (.dlt/secrets.toml [sources.protime])"
    assert line(found, "client_secret") == ("ok", secret)
    assert line(found, "deletes") == ("ok", "mark (default)")


def test_a_setting_that_is_missing_does_not_hide_the_destination(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCES__PROTIME__CLIENT_ID")
    monkeypatch.setenv("SOURCES__PROTIME__CLIENT_SECRET", " ")
    found = checked(world)
    assert found.exit_code == 2
    outcome, text = line(found, "settings")
    assert outcome == "problem"
    assert "client_id, client_secret" in text
    assert {each.name for each in found.lines} & {"tenant", "client_id", "client_secret"} == {
        "tenant"
    }
    assert line(found, "destination")[0] == "ok"
    assert world.tenant.requests == []


def test_a_misspelt_setting_is_a_warning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PROTIME__COLECTIONS", "people")
    found = checked(world)
    assert found.exit_code == 0
    assert line(found, "settings")[0] == "warning"


def test_refused_credentials_are_said_once(world: World) -> None:
    found = checked(world, client_secret="not-the-right-one", collections=("people", "jobs"))
    assert found.exit_code == 3
    outcome, text = line(found, "token endpoint")
    assert outcome == "problem"
    assert "refuses the credentials" in text
    assert "not-the-right-one" not in str(found)
    assert len(world.tenant.requests) == 1


def test_a_missing_scope_is_named_and_the_others_are_tried(make_world: WorldFactory) -> None:
    granted = ("connector-protimeapi-assignments.read", "connector-protimeapi-people.read")
    world = make_world(behaviour=Behaviour(granted_scopes=granted))
    found = checked(world, collections=("clockings", "assignments", "job_histories"))
    assert found.exit_code == 3
    assert {(each.name, each.exit_code) for each in found.problems} == {
        ("scope", 3),
        ("clockings", 3),
    }
    assert "connector-protimeapi-clockings.read" in line(found, "clockings")[1]
    assert line(found, "assignments") == line(found, "job_histories") == ("ok", "readable")


def test_a_collection_that_protime_does_not_have_is_named(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=404, times=1))
    found = checked(world)
    assert found.exit_code == 3
    assert "Protime does not have it" in line(found, "assignments")[1]


def test_an_unreachable_protime_is_said_once(world: World) -> None:
    found = checked(world, api_url="http://127.0.0.1:1", collections=("people", "jobs"))
    assert found.exit_code == 3
    assert line(found, "token endpoint")[0] == "ok"
    assert "cannot be reached" in line(found, "Protime")[1]


@pytest.mark.parametrize(("hours", "way"), [(1, "behind"), (-1, "ahead of")])
def test_a_clock_that_is_wrong_is_a_warning(world: World, hours: int, way: str) -> None:
    assert line(checked(world), "clock")[0] == "ok"
    world.tenant.clock.advance(hours=hours)
    found = checked(world)
    assert found.exit_code == 0
    outcome, text = line(found, "clock")
    assert outcome == "warning"
    assert f"seconds {way} Protime's" in text


def test_a_start_that_protime_would_refuse(world: World) -> None:
    found = checked(world, start_date="2001-01-01")
    assert found.exit_code == 2
    assert "2001-01-01 is too early" in line(found, "start_date")[1]
    world.run()
    found = checked(world, start_date="2001-01-01")
    assert (found.exit_code, line(found, "start_date")[0]) == (0, "warning")


def test_activity_definitions_need_their_setting(world: World) -> None:
    found = checked(world, collections="activity_definitions")
    assert found.exit_code == 2
    assert "activity_structures" in line(found, "activity_definitions")[1]


def test_a_dataset_of_another_tenant(world: World) -> None:
    world.load()
    found = checked(world, tenant="beta", client_secret="wrong")
    assert found.exit_code == 4, "a run would fail with this one first"
    assert "holds rows of another tenant" in line(found, "destination")[1]


def test_a_file_that_is_none_of_duckdbs(world: World) -> None:
    world.database.write_text("no database" * 1000, encoding="utf-8")
    found = checked(world)
    assert found.exit_code == 4
    assert "no DuckDB file" in line(found, "destination")[1]


def test_a_file_that_could_not_be_created(world: World) -> None:
    world.database = world.folder / "missing" / "warehouse.duckdb"
    found = checked(world)
    assert found.exit_code == 4
    assert "folder does not exist" in line(found, "destination")[1]


def test_a_postgres_that_cannot_be_reached_shows_no_password(world: World) -> None:
    url = "postgresql://loader:not-to-be-seen@127.0.0.1:1/nowhere"
    away = dlt.pipeline("away", destination=dlt.destinations.postgres(url))
    found = checked(world, away)
    assert found.exit_code == 4
    assert "127.0.0.1" in line(found, "destination")[1]
    assert "not-to-be-seen" not in str(found)


def test_a_setting_of_dlt_that_a_run_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD__RAISE_ON_FAILED_JOBS", "false")
    found = checked(world)
    assert found.exit_code == 2
    assert "raise_on_failed_jobs" in line(found, "dlt")[1]


def test_the_disks_are_looked_at(world: World) -> None:
    found = checked(world)
    for name in ("working folder", "DuckDB's folder"):
        assert "GiB free in" in line(found, name)[1]


def test_the_command_looks_at_the_folder_of_the_runs_before_the_first_one(world: World) -> None:
    folder = world.folder / "dlt" / "pipelines" / "protime"
    shown = " ".join(run_here(world, command="check").stdout.split())
    assert f"GiB free in {folder}." in shown
    assert not folder.exists()
