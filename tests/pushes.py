"""Pushes as the tests make them: wanted rows, kills at each step, and what must be true after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from functools import wraps
from typing import Any
from unittest import mock

from protime_source.api.http import HttpClient
from protime_source.catalogue import ASSIGNMENTS
from protime_source.pipeline.lock import one_run_on_dataset
from protime_source.settings import Settings
from protime_source.warehouse.dialect import client_of, dialect_of
from protime_source.writeback.push import Push, push_report
from protime_source.writeback.report import PushReport
from tests.world import Row, World

DAY = date(2026, 3, 2)
FIRST_PERSON = 900_001
"""The first of the people who have no assignments but what is pushed."""

RECEIPTS = ("key", "id", "action", "status", "reason")


def wanted(count: int, *, days: int = 5, **more: Any) -> list[Row]:
    """Rows to create: each person has one on each of some days, and every fourth has a twin."""
    return [
        {
            "key": f"shift-{number}",
            "person_id": FIRST_PERSON + number // 4 // days,
            "from_date": DAY + timedelta(days=number // 4 % days),
            "start_time_in_minutes": 480 + 60 * max(number % 4 - 1, 0),
            "comments": "Zaal 3",
            **more,
        }
        for number in range(count)
    ]


def push(world: World, rows: Any, *, apply: bool = True, **more: Any) -> PushReport:
    """One push, as the command makes it."""
    more = {"force": False, "max_deleted_share": 1.0, **more}
    with world.engine.kept_open():
        return push_report(rows, world.pipeline(), apply=apply, **more)


def actions(report: PushReport) -> dict[str, int]:
    """How many rows there are of each action, and of each status."""
    return dict(report.counts)


def sent(world: World) -> list[tuple[str, int]]:
    """Method and status of each request that was to change something, since the last clearing."""
    changing = (r for r in world.tenant.api_requests if r.method != "GET")
    return [(request.method, request.status) for request in changing]


def receipts(world: World) -> list[tuple[Any, ...]]:
    """Key, id, action, status and reason of each receipt, in their order."""
    names = ", ".join(RECEIPTS)
    table = f"{world.dataset}.assignment_writes"
    return world.query(f"SELECT {names} FROM {table} ORDER BY intended_at")


def check(world: World, rows: Sequence[Row], *, others: int = 0) -> None:
    """Of those who are pushed for, Protime has each row that is not deleted, once, and no other.

    Args:
        world: The tenant.
        rows: The wanted rows.
        others: How many assignments of theirs are nobody's row.
    """
    found = Counter(
        tuple(record.get(path) for path in _PATHS)
        for record in map(_flat, world.tenant.records.values())
        if record["person_id"] >= FIRST_PERSON
    )
    expected = Counter(
        tuple(_plain(row.get(name)) for name in _PATHS) for row in rows if not row.get("is_deleted")
    )
    assert expected <= found
    assert found.total() - expected.total() == others


_PATHS = ("person_id", "from_date", "start_time_in_minutes", "end_time_in_minutes", "comments")


def _flat(record: Row) -> Row:
    return {
        "person_id": record["person"]["id"],
        "from_date": record["from"],
        "start_time_in_minutes": record.get("startTimeInMinutes"),
        "end_time_in_minutes": record.get("endTimeInMinutes"),
        "comments": record.get("comments"),
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


class Killed(BaseException):
    """The process is gone; nothing that comes after this reaches Protime or the warehouse."""


Matches = Callable[..., bool]
"""Whether a request or statement counts, by its arguments."""


def _any_call(*_: Any, **__: Any) -> bool:
    return True


def creates(*arguments: Any, **_: Any) -> bool:
    """A request that creates an assignment."""
    return arguments[1:2] == ("POST",) and arguments[2].endswith("/assignments")


class Killer:
    """Kills a push before or after one of its requests and statements.

    Args:
        at: Which moment, from 0: two for each request and each statement.
        only: Which of them count.
    """

    def __init__(self, at: int, only: Matches) -> None:
        self._at = at
        self._only = only
        self._moments = 0
        self.is_dead = False

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose calls are counted, and fail from the kill on."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._pass(counts := self._only(*args, **kwargs))
            result = function(*args, **kwargs)
            self._pass(counts)
            return result

        return call

    def _pass(self, counts: bool) -> None:
        self.is_dead = self.is_dead or (counts and self._moments == self._at)
        self._moments += counts
        if self.is_dead:
            raise Killed


class Pusher:
    """Pushes again and again: what takes most of a push's time is made once.

    Args:
        world: What a push touches.
        opened: Ends with the test.
    """

    def __init__(self, world: World, opened: ExitStack) -> None:
        self._pipeline = world.pipeline()
        self._settings = Settings.from_config()
        self._dialect = dialect_of(self._pipeline)
        self._client = client_of(self._pipeline)
        self._dialect.prepare(self._client, self._pipeline.pipeline_name)
        if self._dialect.is_file:  # a server's lock is left to the runs between two pushes
            opened.enter_context(one_run_on_dataset(self._pipeline, 0))
        opened.enter_context(self._dialect.kept_open(self._client))

    def push(self, rows: Any, **more: Any) -> PushReport:
        """One push."""
        with HttpClient(self._settings) as http:
            session = http.session([ASSIGNMENTS.read_scope, ASSIGNMENTS.write_scope])
            parts = (self._pipeline, self._settings, self._dialect, self._client, session)
            arguments = {"apply": True, "force": False, "max_deleted_share": 1.0, **more}
            return Push(*parts).run(rows, **arguments)

    @contextmanager
    def killed_at(self, moment: int, only: Matches = _any_call) -> Iterator[Killer]:
        """Kills a push in it; its requests go over the network, its statements to the engine.

        Args:
            moment: See `Killer`.
            only: Which requests and statements count.

        Yields:
            Whether it was killed: `is_dead`.
        """
        killer, sql = Killer(moment, only), type(self._client.sql_client)
        with (
            mock.patch.object(HttpClient, "_send", killer.watched(HttpClient._send)),
            mock.patch.object(sql, "execute_sql", killer.watched(sql.execute_sql)),
            suppress(Killed),
        ):
            yield killer
