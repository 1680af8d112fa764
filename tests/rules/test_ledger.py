"""The ledger `sync_runs`: one row per run and collection, whatever became of the run."""

from __future__ import annotations

import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import (
    RefusedCollectionsError,
    SettingsError,
    VanishedRowsError,
    __version__,
    protime,
    status,
)
from protime_source.demo import Behaviour, Fault
from protime_source.warehouse.dialect import client_of, dialect_of
from protime_source.warehouse.ledger import COLUMNS, LedgerTable, Silence
from tests.conftest import WorldFactory
from tests.engines import every_engine, sql_engines
from tests.kill_points import run_until
from tests.world import Row, World

COUNTS = ("requests", "received", "inserted", "updated", "soft_deleted", "unchanged", "stale")


def entries(world: World) -> list[Row]:
    """All rows, in their order."""
    query = f"SELECT * FROM {world.dataset}.sync_runs ORDER BY started_at, table_name"
    names, found = world.engine.ask(query)
    assert names == list(COLUMNS)
    return [dict(zip(names, values, strict=True)) for values in found]


def outcomes(world: World) -> list[tuple[str, str, str | None]]:
    return [(row["table_name"], row["outcome"], row["error"]) for row in entries(world)]


def test_live_rows_are_right_after_a_kill_between_the_merge_and_its_record(world: World) -> None:
    """The table is ahead of the bookmark then, and the events come again."""
    world.load()
    world.load()
    for id_ in sorted(world.tenant.records)[:5]:
        world.tenant.delete(id_)
    assert run_until("load record", "before", world)
    world.lose_working_folder()
    summary = world.load()
    assert summary.tables["assignments"].live_rows == len(world.live())
    world.check()


@sql_engines
def test_a_run_has_one_row_with_the_numbers_of_its_summary(world: World) -> None:
    began = pendulum.now("UTC")
    world.load()
    world.tenant.delete(min(world.tenant.records))
    world.tenant.create(
        person={"id": 7}, **{"from": world.tenant.records[max(world.tenant.records)]["from"]}
    )
    summary = world.load()
    first, second = entries(world)
    assert (first["mode"], first["reason"]) == ("first load", "the table does not exist yet")
    assert (second["mode"], second["reason"]) == ("changes", None)
    table = summary.tables["assignments"]
    assert {name: second[name] for name in COUNTS} == {name: table.counts[name] for name in COUNTS}
    assert (second["inserted"], second["soft_deleted"]) == (1, 1)
    assert second["live_rows"] == table.live_rows == len(world.live())
    assert second["delta_expires_at"] == world.bookmark().expires
    assert (second["outcome"], second["error"]) == ("succeeded", None)
    assert (second["collection"], second["table_name"]) == ("assignments", "assignments")
    assert second["package_version"] == __version__
    assert began <= first["started_at"] <= first["ended_at"] <= second["started_at"]
    loads = [id_ for (id_,) in world.query(f"SELECT load_id FROM {world.dataset}._dlt_loads")]
    assert {first["load_id"], second["load_id"]} <= set(loads)


def test_dlts_own_run_is_written_too_and_a_full_load_says_why(world: World) -> None:
    world.run()
    world.run()
    world.tenant.clock.advance(hours=73)
    world.run()
    world.run(full_resync=True)
    assert outcomes(world) == [("assignments", "succeeded", None)] * 4
    first, second, expired, asked_for = entries(world)
    assert first["run_id"] != second["run_id"]
    assert (second["requests"], second["received"], second["live_rows"]) == (1, 0, 300)
    assert expired["mode"] == asked_for["mode"] == "full load"
    assert "the delta has expired or was replaced (status 410)" in expired["reason"]
    assert asked_for["reason"] == "it was asked for"


def test_each_collection_has_a_row(world: World) -> None:
    world.load(collections=("people", "departments"))
    world.pipeline().run(protime("people", "departments"))
    found = [(row["table_name"], row["mode"]) for row in entries(world)]
    wanted = [("departments", "snapshot"), ("people", "first load")]
    assert found == [*wanted, ("departments", "snapshot"), ("people", "changes")]
    assert len({row["run_id"] for row in entries(world)}) == 2


def test_a_full_load_in_parts_is_one_row(
    make_world: WorldFactory, every_page_is_a_package: None
) -> None:
    world = make_world(rows=100)
    summary = world.load()
    [row] = entries(world)
    assert (row["mode"], row["inserted"], row["received"]) == ("first load", 100, 100)
    assert row["requests"] == summary.tables["assignments"].counts["requests"] > 2
    assert len(world.query(f"SELECT 1 FROM {world.dataset}._dlt_loads")) > 2


def test_a_refused_collection_is_written_as_refused(make_world: WorldFactory) -> None:
    world = make_world(
        behaviour=Behaviour(granted_scopes=("connector-protimeapi-assignments.read",))
    )
    with pytest.raises(RefusedCollectionsError):
        world.load(collections=("assignments", "people"))
    loaded, refused = entries(world)
    assert (loaded["outcome"], refused["outcome"]) == ("succeeded", "refused")
    assert refused["error"]
    with pytest.raises(PipelineStepFailed):
        world.pipeline().run(protime("assignments", "people"))
    failed, refused = entries(world)[2:]
    assert (failed["outcome"], refused["outcome"]) == ("failed", "refused")
    assert "connector-protimeapi-people.read" in refused["error"]
    assert failed["inserted"] == 0


def test_a_collection_that_the_guard_stops_is_written_as_failed(world: World) -> None:
    world.load(collections=("assignments", "departments"))
    for id_ in list(world.tenant.records)[:200]:
        world.tenant.delete(id_)
    world.tenant.clock.advance(hours=73)
    with pytest.raises(VanishedRowsError) as caught:
        world.load(collections=("assignments", "departments"))
    failed, succeeded = entries(world)[2:]
    assert (failed["outcome"], failed["table_name"]) == ("failed", "assignments")
    assert (succeeded["outcome"], succeeded["table_name"]) == ("succeeded", "departments")
    assert "no longer showed 200 of 300 live rows" in failed["error"]
    assert "All others are loaded." in str(caught.value)
    assert failed["live_rows"] == 300


def test_a_failure_of_protime_is_written(world: World) -> None:
    world.run()
    world.tenant.faults.append(Fault("status", status=418, times=99))
    with pytest.raises(PipelineStepFailed):
        world.load()
    row = entries(world)[1]
    assert (row["outcome"], row["mode"], row["inserted"]) == ("failed", "changes", 0)
    assert "418" in row["error"]


def test_a_setting_that_protime_would_refuse_is_written(world: World) -> None:
    with pytest.raises(PipelineStepFailed):
        world.run(start_date="2001-01-01")
    [(_, outcome, error)] = outcomes(world)
    assert outcome == "failed"
    assert error is not None
    assert error.startswith("start_date 2001-01-01 is too early")


def test_a_run_that_could_not_begin_is_not_written(world: World) -> None:
    with pytest.raises(SettingsError):
        world.load(max_vanished_share=7)
    assert not world.engine.database.exists()  # type: ignore[attr-defined]


def test_a_failure_of_the_destination_is_written_without_values(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.run()
    world.query(f"ALTER TABLE {world.dataset}.assignments DROP COLUMN is_rejected")
    world.query(f"ALTER TABLE {world.dataset}.assignments ADD COLUMN is_rejected DATE")
    world.tenant.churn(9)
    with pytest.raises(PipelineStepFailed):
        world.run()
    row = entries(world)[-1]
    assert (row["outcome"], row["inserted"]) == ("failed", 0)
    assert row["error"] == "Loading into the destination failed; the log says more."


def test_a_run_that_was_killed_is_running_until_the_next_one_closes_it(world: World) -> None:
    assert run_until("extract commit", "after", world)
    [row] = entries(world)
    assert (row["outcome"], row["ended_at"]) == ("running", None)
    world.load()
    world.load()
    killed, *others = entries(world)
    assert (killed["run_id"], killed["outcome"]) == (row["run_id"], "failed")
    assert "killed" in killed["error"]
    assert {other["outcome"] for other in others} == {"succeeded"}


@sql_engines
def test_a_run_learns_of_those_that_died_now_and_before(world: World) -> None:
    pipeline, now = world.pipeline(), pendulum.now("UTC")
    table = LedgerTable(client_of(pipeline), dialect_of(pipeline))

    def opened(run_id: str, hours: int) -> Silence:
        return table.open([{"run_id": run_id, "outcome": "running"}], now.add(hours=hours))

    assert [opened("a", 0), opened("b", 1)] == [set(), {"found"}]
    assert opened("c", 2) == {"found", "known"}
    world.query(f"UPDATE {world.dataset}.sync_runs SET outcome = 'succeeded' WHERE run_id = 'c'")
    assert [opened("d", 3), opened("e", 999)] == [{"known"}, {"found"}]


def test_steps_of_a_run_that_are_called_alone_are_one_row(world: World) -> None:
    pipeline = world.pipeline()
    pipeline.extract(protime())
    assert [outcome for _, outcome, _ in outcomes(world)] == ["running"]
    pipeline.normalize()
    pipeline.load()
    [row] = entries(world)
    assert (row["outcome"], row["inserted"], row["live_rows"]) == ("succeeded", 300, 300)


@every_engine
def test_a_ledger_of_another_version_gets_the_columns_that_it_lacks(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    for name in ("stale", "delta_expires_at"):
        world.query(f"ALTER TABLE {world.dataset}.sync_runs DROP COLUMN {name}")
    before = status(world.pipeline(), runs=1)
    world.load()
    assert [run.outcome for run in before.runs] == ["succeeded"]
    assert "could not be written" not in caplog.text
    query = f"SELECT stale, delta_expires_at FROM {world.dataset}.sync_runs ORDER BY started_at"
    older, newer = world.query(query)
    assert older == (None, None)
    assert newer == (0, world.bookmark().expires)


@sql_engines
def test_a_ledger_that_somebody_took_columns_from_gets_them_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.load()
    for name in ("run_id", "outcome", "started_at", "ended_at", "error"):
        world.query(f"ALTER TABLE {world.dataset}.sync_runs DROP COLUMN {name}")
    assert status(world.pipeline(), runs=1).runs == ()
    world.load()
    assert "could not be written" not in caplog.text
    assert [run.outcome for run in status(world.pipeline(), runs=2).runs] == ["succeeded"]
    assert {*world.engine.ask(f"SELECT * FROM {world.dataset}.sync_runs")[0]} == {*COLUMNS}


def test_a_ledger_that_cannot_be_written_fails_no_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    world.query(f"DROP TABLE {world.dataset}.sync_runs")
    world.query(f"CREATE TABLE {world.dataset}.sync_runs (mine INTEGER)")
    world.tenant.churn(5)
    world.run()
    world.check()
    assert world.engine.ask(f"SELECT * FROM {world.dataset}.sync_runs") == (["mine"], [])
    assert "The ledger sync_runs could not be written" in caplog.text
