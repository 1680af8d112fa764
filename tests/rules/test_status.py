"""What the destination says of a warehouse: rows, runs, when the deltas expire, and its health."""

from __future__ import annotations

import json
from dataclasses import replace

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import (
    RefusedCollectionsError,
    SettingsError,
    Status,
    UnhealthyError,
    protime,
    status,
)
from protime_source.demo import Behaviour, Fault
from tests.command import fits
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.pages import DOCS, names_in, section, table_rows
from tests.world import World

KEYS = [
    "collection",
    "table_name",
    "live_rows",
    "deleted_rows",
    "last_success_at",
    "last_outcome",
    "last_error",
    "delta_expires_at",
    "hours_left",
]


def shown(found: Status) -> str:
    """As printed; no line is longer than a terminal is wide."""
    text = str(found)
    assert fits(text)
    return text


@every_engine
def test_a_machine_that_never_ran_the_pipeline_sees_rows_success_and_expiry(world: World) -> None:
    world.load(collections=("assignments", "departments"))
    world.tenant.delete(min(world.tenant.records))
    world.load(collections=("assignments", "departments"))
    elsewhere = replace(world, folder=world.folder / "elsewhere")
    found = status(elsewhere.pipeline("monitor"), runs=9)
    assert (found.healthy, found.exit_code, found.problems) == (True, 0, ())
    assignments, departments = found.collections
    assert (assignments.live_rows, assignments.deleted_rows) == (299, 1)
    assert assignments.delta_expires_at == world.bookmark().expires
    assert 71.5 < (assignments.hours_left or 0) <= 72
    assert (departments.hours_left, departments.last_outcome) == (None, "succeeded")
    [newest, first] = found.runs
    assert newest.started_at > first.started_at
    assert (newest.succeeded, newest.collections, newest.outcome) == (2, 2, "succeeded")
    assert newest.counts["soft_deleted"] == 1
    assert (first.mode, newest.mode) == ("first load", "changes")
    assert "Healthy." in shown(found)
    assert " ".join(shown(found).split()).startswith(f"In {found.place}.")
    assert {path.name for path in elsewhere.folder.rglob("*.parquet")} == set()


def documented_keys() -> list[list[str]]:
    """The keys in each table of keys in the docs."""
    text = section(DOCS / "running.md", "### How is the warehouse?")
    return [
        [name for key, *_ in table_rows(table) for name in names_in(key)]
        for table in text.split("| key of ")[1:]
    ]


def test_the_keys_of_its_json_stay(world: World) -> None:
    world.run()
    found = json.loads(json.dumps(status(world.pipeline(), runs=1).as_json()))
    [run] = found["runs"]
    assert [[*found], KEYS] == documented_keys()[:2]
    assert {*run} == {*documented_keys()[2]}
    assert found["problems"] == []
    assert json.loads(json.dumps(status(world.pipeline()).as_json()))["runs"] == []
    assert (found["destination"], found["dataset"]) == (world.engine.name, world.dataset)
    [collection] = found["collections"]
    assert [*collection] == KEYS
    assert collection["delta_expires_at"].endswith("+00:00")


@every_engine
def test_without_a_warehouse_it_is_unhealthy_and_creates_nothing(world: World) -> None:
    found = status(world.pipeline(), runs=3)
    assert (found.collections, found.runs, found.exit_code) == ((), (), 7)
    assert "Nothing has been loaded yet" in shown(found)
    assert not [*world.folder.glob("*.duckdb*")]
    assert not world.engine.holds("_dlt_version")


def test_a_failed_run_makes_it_unhealthy_until_the_next_success(world: World) -> None:
    world.run()
    world.tenant.faults.append(Fault("status", status=418, times=99))
    with pytest.raises(PipelineStepFailed):
        world.load()
    found = status(world.pipeline(), runs=1)
    [collection] = found.collections
    assert [run.errors for run in found.runs] == [(collection.last_error,)]
    assert f"{found.runs[0].started_at:%H:%M:%S}: " in shown(found)
    assert (collection.last_outcome, collection.live_rows) == ("failed", 300)
    assert "418" in (collection.last_error or "")
    assert collection.last_success_at is not None
    with pytest.raises(UnhealthyError, match="the last run failed") as caught:
        found.raise_if_unhealthy()
    assert caught.value.exit_code == found.exit_code == 7
    assert "Last success" in shown(found)
    world.tenant.faults.clear()
    world.run()
    [collection] = status(world.pipeline()).collections
    assert (collection.last_outcome, collection.last_error) == ("succeeded", None)


def test_a_refused_collection_is_shown_although_it_has_no_table(make_world: WorldFactory) -> None:
    world = make_world(
        behaviour=Behaviour(granted_scopes=("connector-protimeapi-assignments.read",))
    )
    with pytest.raises(RefusedCollectionsError):
        world.load(collections=("assignments", "people"))
    found = status(world.pipeline())
    _, people = found.collections
    assert (people.last_outcome, people.live_rows, people.last_success_at) == (
        "refused",
        None,
        None,
    )
    assert not found.healthy
    assert "people: the last run was refused" in shown(found)


def test_a_limit_that_is_passed_makes_it_unhealthy(world: World) -> None:
    """Hours until the delta expires, and since the last success."""
    world.run()
    with pytest.raises(SettingsError, match="min_hours_left"):
        status(world.pipeline(), min_hours_left=-1)
    assert status(world.pipeline(), min_hours_left=71).healthy
    found = status(world.pipeline(), min_hours_left=72.5)
    assert found.exit_code == 7
    assert "the delta expires in" in shown(found)
    world.query(f"UPDATE {world.dataset}.sync_runs SET ended_at = ended_at - INTERVAL 30 HOUR")
    assert status(world.pipeline()).healthy
    assert status(world.pipeline(), max_age_hours=31).healthy
    found = status(world.pipeline(), max_age_hours=26)
    assert found.exit_code == 7
    assert "the last success was 30.0 hours ago" in shown(found)


def test_a_run_that_is_at_work_hides_no_failure_before_it(world: World) -> None:
    world.run()
    world.run()
    ledger = f"{world.dataset}.sync_runs"
    newest = f"started_at = (SELECT MAX(started_at) FROM {ledger})"
    world.query(f"UPDATE {ledger} SET outcome = 'failed', error = 'why' WHERE NOT {newest}")
    world.query(f"UPDATE {ledger} SET outcome = 'running', ended_at = NULL WHERE {newest}")
    found = status(world.pipeline(), runs=1)
    assert [each.last_outcome for each in found.collections] == ["failed"]
    assert [(run.outcome, run.ended_at) for run in found.runs] == [("running", None)]
    assert "why" in shown(found)


def test_pending_packages_of_this_machine_are_counted(world: World) -> None:
    world.run()
    world.tenant.churn(5)
    world.pipeline().extract(protime())
    found = status(world.pipeline())
    assert found.pending_packages == 1
    assert "An earlier run left 1 load package" in shown(found)
    world.query(f"DROP TABLE {world.dataset}.assignments CASCADE")
    [collection] = status(world.pipeline()).collections
    assert (collection.live_rows, collection.deleted_rows) == (None, None), "it was dropped"


def test_a_destination_that_cannot_be_read_is_an_error_without_secrets(world: World) -> None:
    url = "postgresql://loader:not-to-be-seen@127.0.0.1:1/nowhere"
    pipeline = dlt.pipeline("away", destination=dlt.destinations.postgres(url))
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
        status(pipeline)
    assert "not-to-be-seen" not in str(caught.value)
