"""Who reads the table while it is loaded sees it before or after, never half changed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import Any

import duckdb
import psycopg2  # type: ignore[import-untyped]
import pytest
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from protime_source import protime
from protime_source.pipeline.load import load
from tests.engines import ALSO_LAKES, DuckLakeEngine, Engine, PostgresEngine, every_engine
from tests.processes import fork
from tests.servers.ducklake import connect_to_lake
from tests.world import Moment, World

_WRITES = (
    "MERGE INTO|INSERT INTO|UPDATE|DELETE FROM|TRUNCATE TABLE|TRUNCATE"
    "|(?:ALTER|DROP|CREATE|CREATE OR REPLACE) TABLE(?: IF EXISTS| IF NOT EXISTS)?"
)
_TABLE = "SELECT id, change_version, is_deleted FROM protime_data.assignments"
Look = frozenset[tuple[Any, ...]]


def _after_each_statement(
    world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[str], object]
) -> None:
    """Has something done whenever dlt's client has sent a statement."""
    with world.pipeline().sql_client() as client:
        kind = type(client)
    execute = kind.execute_query

    @contextmanager
    def observed(self: Any, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with execute(self, query, *args, **kwargs) as cursor:
            yield cursor
        act(str(query))

    monkeypatch.setattr(kind, "execute_query", observed)


def _change(world: World) -> None:
    """Something to insert, to update and to delete."""
    first, second, *_ = sorted(world.tenant.records)
    world.tenant.create(world.tenant.records[first])
    world.tenant.update(first, {"person": {"id": 7}, "from": world.tenant.records[first]["from"]})
    world.tenant.delete(second)


@every_engine
def test_one_statement_of_a_load_changes_the_table(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    _change(world)
    with world.pipeline().sql_client() as client:
        name, _ = client.get_qualified_table_names("assignments")
    sent: list[str] = []
    _after_each_statement(world, monkeypatch, sent.append)
    world.run()
    world.check()
    writes = re.compile(rf"\b({_WRITES})\s+{re.escape(name)}", re.IGNORECASE)
    assert [write for sql in sent for write in writes.findall(sql)] == ["MERGE INTO"]


class Reader:
    """Reads the table over and over, on a connection of its own.

    Args:
        engine: Where.

    Attributes:
        seen: Every state of the table that it saw.
    """

    def __init__(self, engine: Engine) -> None:
        self.seen: set[Look] = set()
        self._engine = engine
        self._has_looked, self._may_end = Event(), Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = Thread(target=self._read)
        thread.start()
        try:
            self.look()
            yield
            self.look()
        finally:
            self._may_end.set()
            thread.join()

    def look(self) -> None:
        """Gives it the time to look once from now on, unless somebody locks it out."""
        for _ in range(2):  # the look that is under way began before
            self._has_looked.clear()
            self._has_looked.wait(1)

    def _read(self) -> None:
        with _connected(self._engine) as ask:
            while not self._may_end.is_set():
                self.seen.add(frozenset(ask(_TABLE)))
                self._has_looked.set()


@contextmanager
def _connected(engine: Engine) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """A connection, which is kept, as what asks there."""
    if isinstance(engine, DuckLakeEngine):
        with connect_to_lake(engine.catalog, engine.files) as lake:
            yield lambda sql: lake.execute(sql).fetchall()
        return
    assert isinstance(engine, PostgresEngine)
    with closing(psycopg2.connect(engine.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def ask(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(sql)
            return list(cursor.fetchall())

        yield ask


@pytest.mark.parametrize("engine", ["postgres", *ALSO_LAKES], indirect=True)
def test_a_reader_sees_the_old_table_or_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    _change(world)
    reader = Reader(world.engine)
    _after_each_statement(world, monkeypatch, lambda _: reader.look())
    old = frozenset(world.query(_TABLE))
    with reader.at_work():
        world.run()
    new = frozenset(world.query(_TABLE))
    assert reader.seen == {old, new}
    assert old != new


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_long_transaction_keeps_its_picture_and_no_run_waits_for_it(world: World) -> None:
    """All tables of one moment: a run changes each by a statement of its own."""
    assert isinstance(world.engine, PostgresEngine)
    world.run(collections=("assignments", "departments"))
    tables = f"{_TABLE}; SELECT id, name, is_deleted FROM protime_data.departments"

    def look(cursor: Any) -> list[Look]:
        looks = []
        for query in tables.split("; "):
            cursor.execute(query)
            looks.append(frozenset(cursor.fetchall()))
        return looks

    with closing(psycopg2.connect(world.engine.url)) as connection, connection.cursor() as cursor:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        before = look(cursor)
        _change(world)
        world.run(collections=("assignments", "departments"))
        world.check()
        assert look(cursor) == before
        connection.rollback()
        assert look(cursor) != before


def _can_be_read(world: World) -> bool:
    """Whether another program can open DuckDB's file."""
    process = fork(_open, str(world.database))
    process.join()
    return process.exitcode == 0


def _open(database: str) -> None:
    try:
        duckdb.connect(database, read_only=True).close()
    except duckdb.IOException:
        sys.exit(1)


def test_nobody_comes_between_two_statements_of_a_load(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened DuckDB's file between them would make the load fail; the ledger comes after it."""
    pipeline = world.pipeline()
    pipeline.extract(protime())
    pipeline.normalize()
    close, looks = DuckDbSqlClient.close_connection, []

    def observed(self: DuckDbSqlClient) -> None:
        close(self)
        looks.append(_can_be_read(world))

    monkeypatch.setattr(DuckDbSqlClient, "close_connection", observed)
    pipeline.load()
    assert looks.count(False) > 3
    assert looks == sorted(looks)
    assert _can_be_read(world)


def test_the_file_can_be_read_while_protime_is_asked(world: World) -> None:
    world.run()
    looks: list[bool] = []
    world.tenant.faults.append(Moment(action=lambda: looks.append(_can_be_read(world))))
    load(world.pipeline())
    assert looks == [True]


def test_a_load_of_nothing_touches_no_file(world: World) -> None:
    pipeline = world.run()
    world.database.unlink()
    pipeline.load()
    assert not world.database.exists()


def test_an_open_connection_has_its_own_settings_again_after_a_load(world: World) -> None:
    """Two in one process share DuckDB's settings."""
    world.run()
    name = "allocator_flush_threshold"
    with closing(duckdb.connect(str(world.database))) as mine:
        mine.execute(f"SET GLOBAL {name} = '64MB'")
        [before] = mine.execute(f"SELECT current_setting('{name}')").fetchall()
        world.run()
        assert mine.execute(f"SELECT current_setting('{name}')").fetchall() == [before]
