"""A push that is killed at any moment, and pushed again: nothing is doubled, nothing is lost."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from protime_source.demo import Behaviour
from protime_source.writeback import push as push_module
from protime_source.writeback import send
from tests.command import start
from tests.engines import ENGINES
from tests.pushes import DAY, FIRST_PERSON, Pusher, check, creates, push, receipts, sent, wanted
from tests.world import World

MANY = int(os.environ.get("PROTIME_PUSH_ROWS", "0"))
ROWS = MANY or 12


def mostly(engine: str) -> pytest.MarkDecorator:
    """Both engines where there is time: what differs in a push is one statement's dialect."""
    return pytest.mark.parametrize("engine", ENGINES[:2] if MANY else [engine], indirect=True)


@pytest.fixture
def pusher(world: World) -> Iterator[Pusher]:
    """Pushes into the world."""
    with ExitStack() as opened:
        yield Pusher(world, opened)


@pytest.fixture(autouse=True)
def _nothing_is_at_work_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenant answers at once, so there is nothing to wait for."""
    monkeypatch.setattr(push_module, "SETTLE_SECONDS", 0)


@mostly("duckdb")
def test_killed_before_and_after_each_request_and_each_statement(
    world: World, pusher: Pusher
) -> None:
    """Each time with other times, so that there is something to create, to update and to delete."""
    rows = wanted(5)
    pusher.push(rows)
    for moment in count():
        new = wanted(3, key="", person_id=FIRST_PERSON + 1 + moment)
        for number, row in enumerate(new):
            row["key"] = f"new-{moment}-{number}"
        rows = [row for row in rows if not row.get("is_deleted")]
        rows[0]["end_time_in_minutes"] = 600 + moment
        rows[-1]["is_deleted"] = True
        rows += new
        with pusher.killed_at(moment) as killer:
            pusher.push(rows)
        again = pusher.push(rows)
        assert again.exit_code == 0, (moment, str(again))
        assert not again.counts["uncertain"]
        check(world, rows)
        if not killer.is_dead:
            break
    assert moment > 30
    world.tenant.clear_requests()
    assert pusher.push(rows).counts == {"unchanged": len(rows)}
    assert sent(world) == []


@mostly("postgres")
def test_killed_again_and_again_until_all_is_sent(
    world: World, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each create, before it and after it."""
    monkeypatch.setattr(send, "RECEIPTS_AT_ONCE", max(ROWS // 100, 4))
    rows = wanted(ROWS)
    for attempt in count():
        with pusher.killed_at(attempt % 2, only=creates) as killer:
            report = pusher.push(rows)
        if not killer.is_dead:
            break
    assert attempt == 2 * ROWS
    assert report.exit_code == 0, str(report)
    check(world, rows)
    done = [key for key, _, _, status, _ in receipts(world) if status == "done"]
    assert sorted(done) == sorted(row["key"] for row in rows)


@pytest.mark.parametrize(
    ("engine", "creates_before", "number"),
    [
        ("duckdb", 3, signal.SIGKILL),
        ("postgres", 25, signal.SIGKILL),
        ("postgres", 5, signal.SIGTERM),
    ],
    indirect=["engine"],
)
def test_a_command_that_is_killed_or_stopped(
    world: World, tmp_path: Path, creates_before: int, number: signal.Signals
) -> None:
    """Only a kill leaves receipts without an outcome."""
    rows = wanted(40)
    with (tmp_path / "roster.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    world.tenant.behaviour = Behaviour(latency=0.02)
    process = start(world, "--from", str(tmp_path / "roster.csv"), "--apply", command="push")
    until = time.monotonic() + 60
    while len(sent(world)) < creates_before and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(number)
    ended = process.finish()
    world.tenant.behaviour = Behaviour()
    assert creates_before <= len(sent(world)) < 40
    is_killed = number == signal.SIGKILL
    assert ended.returncode == (-number if is_killed else 128 + number), ended.stderr
    assert ("Stopped on request." in ended.stderr) != is_killed
    assert ("the push was stopped" in ended.stdout) != is_killed
    assert ("intended" in {status for *_, status, _ in receipts(world)}) == is_killed
    report = push(world, rows)
    assert report.exit_code == 0, str(report)
    assert report.counts["unchanged"] >= creates_before
    check(world, rows)


def test_the_rows_have_twins() -> None:
    """Proof that what cannot be told apart is among them."""
    first, second, third, *_ = wanted(4)
    assert {**first, "key": ""} == {**second, "key": ""} != {**third, "key": ""}
    assert first["from_date"] == DAY
