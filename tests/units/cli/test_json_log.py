"""A run for a log collector: one JSON object per line, in the form of dlt's own log."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

from protime_source.demo import Fault
from tests.command import run_here, start
from tests.world import World

AS_JSON = {"RUNTIME__LOG_FORMAT": "JSON"}


def events(err: str) -> list[dict[str, Any]]:
    """The lines of a log; each has what dlt's have."""
    found = [json.loads(line) for line in err.splitlines()]
    for each in found:
        assert {"written_at", "msg", "type", "logger", "level"} <= each.keys()
    return found


def named(done: subprocess.CompletedProcess[str], name: str) -> list[dict[str, Any]]:
    return [each for each in events(done.stderr) if each.get("event") == name]


def test_a_run_logs_its_start_its_full_loads_and_its_summary(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protime_source.sync.counts.SECONDS_BETWEEN_LINES", 0)
    done = run_here(world, "assignments", "people", **AS_JSON)
    assert (done.returncode, done.stdout) == (0, "")
    [first, *_, last] = events(done.stderr)
    assert (first["event"], first["collections"]) == ("start", ["assignments", "people"])
    assert (first["pipeline"], first["dataset"]) == ("protime", "protime_data")
    reasons = {each["table_name"]: each["reason"] for each in named(done, "full load")}
    assert reasons == dict.fromkeys(("assignments", "people"), "the table does not exist yet")
    rows = [p["rows"] for p in named(done, "progress") if p["table_name"] == "assignments"]
    assert rows == sorted(rows)
    assert rows[-1] == 300
    assert last["event"] == "summary"
    assert last["tables"]["assignments"]["inserted"] == 300
    assert last["tables"]["assignments"]["delta_expires_at"] > last["written_at"]
    assert last["not_loaded"] == []


def test_a_failure_is_logged_with_its_exit_code(world: World) -> None:
    failed = run_here(world, SOURCES__PROTIME__CLIENT_SECRET="wrong", **AS_JSON)
    [error] = named(failed, "error")
    assert (failed.returncode, error["exit_code"], error["level"]) == (3, 3, "ERROR")
    assert "refuses the credentials" in error["msg"]


def test_a_settings_file_that_cannot_be_read_is_logged_too(world: World) -> None:
    (world.folder / ".dlt").mkdir()
    (world.folder / ".dlt" / "config.toml").write_text("[sources.protime]\ntenant = abc\n")
    failed = start(world, **AS_JSON).finish()
    assert [each["exit_code"] for each in named(failed, "error")] == [failed.returncode] == [2]


def test_a_result_that_was_asked_for_goes_to_standard_output(world: World) -> None:
    assert run_here(world).returncode == 0
    now = run_here(world, "--json", command="status", **AS_JSON)
    assert json.loads(now.stdout)["healthy"] is True
    assert now.stderr == ""


def test_a_stopped_run_logs_it(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=503, retry_after=60))
    process = start(world, **AS_JSON)
    process.wait_until(lambda: world.requests)
    process.send_signal(signal.SIGTERM)
    stopped = process.finish()
    last = events(stopped.stderr)[-1]
    assert (stopped.returncode, last["exit_code"]) == (143, 143)
    assert last["msg"].startswith("Stopped on request.")


def test_a_retry_is_logged_with_its_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protime_source.api.retry.SILENT_SECONDS", -1)
    world.tenant.faults.append(Fault("status", status=500, times=2))
    done = run_here(world, **AS_JSON)
    assert done.returncode == 0
    assert [each["attempt"] for each in named(done, "retry")] == [1, 2]
