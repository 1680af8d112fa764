"""A session of somebody else that keeps a table locked is named, and waited for with a bound."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg2  # type: ignore[import-untyped]
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import protime
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from tests.command import Command, reason, run_here, start
from tests.engines import PostgresEngine
from tests.world import World

pytestmark = pytest.mark.parametrize("engine", ["postgres"], indirect=True)

_STOP_SECONDS = 10.0

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def url_of(world: World) -> str:
    assert isinstance(world.engine, PostgresEngine)
    return world.engine.url


@contextmanager
def idle_reader(world: World, statement: str = "SELECT 1 FROM {table} LIMIT 1") -> Iterator[int]:
    """Looks at the table as BI tools do: in a transaction that stays open. Its process id."""
    connection = psycopg2.connect(url_of(world))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement.format(table=f"{world.dataset}.assignments"))
        yield connection.info.backend_pid
    finally:
        connection.close()


def add_a_field(world: World) -> None:
    """Makes the next load add a column, for which Postgres needs the table alone."""
    world.tenant.behaviour = replace(world.tenant.behaviour, extra_fields={"colour": "red"})
    world.tenant.churn(10)


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protime_source.pipeline.waits.MAX_WAIT_SECONDS", 1.0)
    monkeypatch.setattr("protime_source.pipeline.waits.LOOK_SECONDS", 0.2)


def test_a_reader_that_stays_is_named_and_ends_the_run(world: World, short_patience: None) -> None:
    assert run_here(world).returncode == 0
    add_a_field(world)
    with idle_reader(world) as session:
        refused = run_here(world)
    assert refused.returncode == 4
    name = f"session {session} of user postgres (idle in transaction since "
    assert f"warning: assignments: waiting for the {name}" in refused.stderr
    assert "reads the table" in refused.stderr
    assert f"assignments could not be changed, because the {name}" in reason(refused)
    assert "the next run loads it first" in reason(refused)
    assert run_here(world).returncode == 0
    world.check()


def test_a_run_goes_on_when_the_reader_has_gone_under_the_name_that_the_credentials_give_it(
    world: World,
) -> None:
    url = f"{url_of(world)}?application_name=payroll&options=-cstatement_timeout%3D61s"
    world.engine = PostgresEngine(url)
    assert run_here(world).returncode == 0
    add_a_field(world)
    names = "SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with idle_reader(world):
        run = start(world)
        _until_it_waits(world, run)
        [(name,)] = world.query(names)
    done = run.finish()
    assert done.returncode == 0, done.stderr
    assert name.startswith("payroll:")
    world.check()


def _stop(run: Command, number: signal.Signals) -> str:
    """Stops a run, which must end soon, and returns its error output."""
    run.send_signal(number)
    began = time.monotonic()
    stopped = run.finish()
    assert time.monotonic() - began < _STOP_SECONDS
    assert stopped.returncode == 128 + number, stopped.stderr
    return stopped.stderr


def test_a_stop_ends_a_wait_at_once(world: World) -> None:
    assert run_here(world).returncode == 0
    add_a_field(world)
    with idle_reader(world):
        run = start(world)
        _until_it_waits(world, run)
        err = _stop(run, signal.SIGINT)
        assert world.query(_WAITING) == [(0,)]
    assert "error: Stopped on request. What was received is kept" in err
    assert run_here(world).returncode == 0
    world.check()


def test_a_stop_ends_a_merge_that_waits(world: World) -> None:
    """The main thread waits in Python then, and a thread of dlt's in the driver."""
    assert run_here(world).returncode == 0
    world.tenant.churn(10)
    with idle_reader(world, "LOCK TABLE {table} IN EXCLUSIVE MODE"):
        run = start(world)
        _until_it_waits(world, run)
        _stop(run, signal.SIGTERM)
    assert run_here(world).returncode == 0
    world.check()


def test_a_stop_ends_a_read_that_waits(world: World) -> None:
    """Nothing is loaded then, so dlt does not look out for signals."""
    assert run_here(world).returncode == 0
    world.tenant.churn(10)
    with idle_reader(world, "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
        run = start(world)
        _until_it_waits(world, run)
        _stop(run, signal.SIGINT)
    assert run_here(world).returncode == 0
    world.check()


def test_a_locked_table_is_waited_for_once(
    world: World, short_patience: None, subtests: pytest.Subtests
) -> None:
    """In the first case dlt tries the merge five times, in the second one each read waits."""
    assert run_here(world).returncode == 0
    for mode in ("EXCLUSIVE", "ACCESS EXCLUSIVE"):
        with subtests.test(mode):
            world.tenant.churn(10)
            with idle_reader(world, f"LOCK TABLE {{table}} IN {mode} MODE") as session:
                refused = run_here(world)
            assert refused.returncode == 4
            assert f"the session {session} of user postgres" in reason(refused)
            assert refused.stderr.count("warning: ") == 1
            assert run_here(world).returncode == 0
            world.check()


def test_dlts_own_run_has_the_same_bound(
    world: World, short_patience: None, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    add_a_field(world)
    with idle_reader(world) as session, pytest.raises(PipelineStepFailed) as caught:
        world.run()
    assert explain(caught.value).exit_code == 4
    assert "Postgres cancelled a statement of this run" in explain(caught.value).message
    assert f"waiting for the session {session}" in caplog.text
    world.pipeline().run()
    world.run()
    world.check()


def test_a_run_leaves_the_users_credentials_as_they_were(world: World) -> None:
    pipeline = world.pipeline()
    assert pipeline.destination is not None
    before = dict(pipeline.destination.config_params)
    pipeline.run(protime())
    load(pipeline)
    assert pipeline.destination.config_params == before


def _until_it_waits(world: World, run: Command) -> None:
    """Until the run waits for a lock."""
    while world.query(_WAITING) == [(0,)]:
        assert run.poll() is None, run.finish()
        time.sleep(0.05)
