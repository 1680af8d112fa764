"""Two runs at once, on one pipeline or one dataset: one works, the other says so and leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from unittest import mock

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock, Timeout

from protime_source import AlreadyRunningError, RefusedCollectionsError, protime
from protime_source.demo import Behaviour, Fault
from protime_source.demo.messages import Request, Response
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from protime_source.pipeline.lock import one_run
from tests.command import Command, reason, run_here, start
from tests.kill_points import run_until
from tests.processes import open_elsewhere
from tests.world import World


@contextmanager
def _no_answers(world: World) -> Iterator[Event]:
    """A tenant that answers nothing for as long as the context lasts; whether it was asked."""
    is_asked, may_go_on = Event(), Event()
    respond = world.tenant.respond

    def hold_up(request: Request) -> Response:
        if request.is_api:  # outside of the tenant's lock, which the test needs as well
            is_asked.set()
            may_go_on.wait(100)
        return respond(request)

    with mock.patch.object(world.tenant, "respond", hold_up):
        try:
            yield is_asked
        finally:
            may_go_on.set()


@contextmanager
def _held_up(world: World) -> Iterator[Command]:
    """A command that gets no answer for as long as the context lasts."""
    with _no_answers(world) as is_asked:
        command = start(world)
        assert is_asked.wait(60)
        yield command


@contextmanager
def _stopped(world: World) -> Iterator[Command]:
    """A command that stands still after its first request, while the tenant answers others."""
    with _held_up(world) as command:
        command.send_signal(signal.SIGSTOP)
    try:
        yield command
    finally:
        command.send_signal(signal.SIGCONT)


def test_two_commands_started_together(world: World) -> None:
    with _held_up(world) as first:
        second = run_here(world)
    assert second.returncode == AlreadyRunningError.exit_code == 6
    assert "Another run of the pipeline protime is at work" in reason(second)
    done = first.finish()
    assert done.returncode == 0, done.stderr
    world.check()
    assert run_here(world).returncode == 0


def test_three_commands_started_at_the_same_moment(world: World) -> None:
    """Nobody knows which of them is first; the two others leave before it is done."""
    with _no_answers(world):
        commands = [start(world) for _ in range(3)]
        until = time.monotonic() + 60
        while sum(c.poll() is None for c in commands) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        early = [command.poll() for command in commands]
    assert sorted(early, key=str) == [6, 6, None]
    assert sorted(command.finish().returncode for command in commands) == [0, 6, 6]
    world.check()


def test_a_command_leaves_alone_a_working_folder_that_has_no_state_yet(world: World) -> None:
    """A folder that dlt would empty: another run may just have begun to use it."""
    begun = Path(os.environ["DLT_DATA_DIR"], "pipelines", "protime", "begun")
    begun.parent.mkdir(parents=True)
    begun.touch()
    with one_run(str(begun.parent)):
        assert start(world).finish().returncode == AlreadyRunningError.exit_code
    assert begun.exists()
    assert run_here(world).returncode == 0
    world.check()


def test_the_lock_is_beside_the_working_folder_wherever_that_is(
    world: World, tmp_path: Path
) -> None:
    more = {"PIPELINES__PROTIME__PIPELINES_DIR": str(tmp_path / "elsewhere")}
    with one_run(str(tmp_path / "elsewhere" / "protime")):
        assert start(world, **more).finish().returncode == AlreadyRunningError.exit_code
        assert start(world).finish().returncode == 0
    assert run_here(world, **more).returncode == 0
    world.check()


def test_a_killed_run_leaves_no_lock(world: World) -> None:
    with _held_up(world) as killed:
        killed.send_signal(signal.SIGKILL)
        killed.finish()
    assert run_here(world).returncode == 0
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_notebook_and_a_command(world: World) -> None:
    """Also dlt's own `run` holds the lock, and gives it back, whether it fails or not."""
    with _held_up(world) as command, pytest.raises(PipelineStepFailed) as caught:
        _run_in_the_commands_folder(world)
    assert explain(caught.value).exit_code == AlreadyRunningError.exit_code
    command.finish()
    _run_in_the_commands_folder(world)
    world.check()


def test_a_notebook_waits_for_a_command_that_may_need_the_file(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _run_in_the_commands_folder(world)
    with ThreadPoolExecutor(1) as thread:
        with _held_up(world) as command:
            asked = world.requests
            waiting = thread.submit(_run_in_the_commands_folder, world)
            _until_logged(caplog, "waiting up to 300 s for another run of this pipeline to end")
            assert not waiting.done()
            assert world.requests == asked
        command.finish()
        waiting.result()
    world.check()


def _until_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    give_up_at = time.monotonic() + 60
    while text not in caplog.text:
        assert time.monotonic() < give_up_at, caplog.text
        time.sleep(0.02)


def _run_in_the_commands_folder(world: World) -> None:
    destination = world.engine.destination()
    dlt.pipeline("protime", destination=destination, dataset_name="protime_data").run(protime())


def test_a_failed_run_gives_the_lock_back(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=404))
    with pytest.raises(RefusedCollectionsError):
        load(world.pipeline())
    assert not _is_locked(world)
    load(world.pipeline())
    world.check()


def _is_locked(world: World) -> bool:
    lock = FileLock(world.folder / "pipelines" / ".protime.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def test_a_second_thread_is_another_run(world: World) -> None:
    with one_run(world.pipeline().working_dir), ThreadPoolExecutor(1) as thread:
        second = thread.submit(lambda: load(world.pipeline()))
        with pytest.raises(AlreadyRunningError):
            second.result()
        assert world.requests == 0
        load(world.pipeline())
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: load(world.pipeline())).result()
    world.check()


def _elsewhere(world: World) -> World:
    """Another working folder for the same warehouse, as on another machine."""
    return replace(world, folder=world.folder / "elsewhere")


several_machines = pytest.mark.parametrize("engine", ["postgres", "bigquery"], indirect=True)


@several_machines
def test_a_run_from_another_machine_is_refused(world: World) -> None:
    """Also dlt's own `run`, without and with a package of an earlier run."""
    other = _elsewhere(world)
    other.run()
    if world.engine.name == "postgres":
        _check_that_it_is_refused(world, other)
    world.tenant.churn(5, seed=1)
    other.pipeline().extract(protime())
    _check_that_it_is_refused(world, other)
    world.tenant.churn(5, seed=2)
    other.run()
    world.check()


def _check_that_it_is_refused(world: World, other: World) -> None:
    with ThreadPoolExecutor(1) as thread, _no_answers(world) as is_asked:
        first = thread.submit(load, world.pipeline())
        assert is_asked.wait(60)
        asked = world.requests
        with pytest.raises(PipelineStepFailed) as caught:
            other.run()
        failure = explain(caught.value)
        with pytest.raises(AlreadyRunningError):
            load(other.pipeline())
        assert world.requests == asked
    first.result()
    assert failure.exit_code == AlreadyRunningError.exit_code
    assert "Another run loads into the dataset" in failure.message
    world.check()


@several_machines
def test_a_killed_run_does_not_keep_out_the_next(world: World) -> None:
    """On BigQuery it keeps out those from other machines, until the lease that it had ends."""
    world.run()
    world.tenant.churn(5, seed=1)
    assert run_until("merge statement", "before", world)
    load(world.pipeline())
    world.check()
    if world.engine.name != "bigquery":
        return
    world.tenant.churn(5, seed=2)
    assert run_until("merge statement", "before", world)
    other = _elsewhere(world)
    with pytest.raises(AlreadyRunningError):
        other.load()
    world.query(
        f"UPDATE {world.dataset}._protime_lease SET deadline = CURRENT_TIMESTAMP() WHERE TRUE"
    )
    other.load()
    for by_hand in ("DELETE FROM {} WHERE TRUE", "ALTER TABLE {} DROP COLUMN deadline"):
        world.query(by_hand.format(f"{world.dataset}._protime_lease"))
        world.load()
        world.check()


def test_a_file_that_a_notebook_has_open_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """By dlt's own `run` and by `load`."""
    world.run()
    for run in (lambda pipeline: pipeline.run(protime()), load):
        caplog.clear()
        world.tenant.churn(5)
        with open_elsewhere(world.database) as close, ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(run, world.pipeline())
            _until_logged(caplog, "waiting up to 300 s for the DuckDB file")
            assert not waiting.done()
            close()
            waiting.result()
        world.check()


def test_of_two_runs_on_one_file_the_later_throws_away_what_it_received(world: World) -> None:
    world.tenant.behaviour = Behaviour(older_delta_dies=False)
    with _stopped(world) as first:
        second = run_here(world, DLT_DATA_DIR=str(world.folder / "elsewhere"))
    assert second.returncode == 0, second.stderr
    failed = first.finish()
    assert failed.returncode == AlreadyRunningError.exit_code
    assert "Another run changed the dataset" in reason(failed)
    world.check()
