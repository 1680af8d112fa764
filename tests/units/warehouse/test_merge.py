"""The merge filter alone, against the simulator's model of it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import psycopg2  # type: ignore[import-untyped]
import pytest

from protime_source.warehouse.bigquery import BigQuery
from protime_source.warehouse.dialect import Dialect
from protime_source.warehouse.duckdb import DuckDB
from protime_source.warehouse.merge import merge_filter
from protime_source.warehouse.postgres import Postgres
from tests.servers.bigquery import BigQueryServer
from tests.servers.postgres import PostgresServer
from tests.simulator.warehouse import MergeFilter, Warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)
VERSIONS = ("", "A", "B", "Z", "a", "z", "é")
"""Text that Postgres orders otherwise in a database that sorts as a dictionary does."""

TYPES = {"VARCHAR": "STRING", "BOOLEAN": "BOOL", "BIGINT": "INT64"} | {
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP"
}
"""What BigQuery calls them."""

_GOOGLES = re.compile("|".join(TYPES))

Execute = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Staged:
    """A staged row."""

    case: int
    id: int
    version: str
    is_deleted: bool
    minute: int

    @property
    def synced_at(self) -> datetime:
        return START + timedelta(minutes=self.minute)


def allowed(
    staged: list[Staged], stored: dict[int, str], ignored_before: datetime | None, has_version: bool
) -> list[Staged]:
    """The rows that the filter must let through: those that the simulator's warehouse writes."""
    by_key = {(row.id, row.version, row.synced_at): row for row in staged}
    warehouse = Warehouse(
        {id_: {"change_version": version} for id_, version in stored.items()},
        staging=[
            {
                "id": row.id,
                "change_version": row.version,
                "is_deleted": row.is_deleted,
                "synced_at": row.synced_at,
            }
            for row in staged
        ],
    )
    written = warehouse.merge(MergeFilter(ignored_before, has_version))
    return [by_key[id_, r["change_version"], r["synced_at"]] for id_, r in written.items()]


@pytest.fixture(params=["duckdb", "postgres", "bigquery"])
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[Dialect, Execute]]:
    """A dialect, and a way to execute statements on an empty database."""
    if request.param == "duckdb":
        with duckdb.connect() as database:
            yield DuckDB(), lambda sql: database.execute(sql).fetchall()
        return
    if request.param == "bigquery":
        emulator: BigQueryServer = request.getfixturevalue("bigquery_server")
        with emulator.in_dataset() as ask:
            yield BigQuery(), lambda sql: ask(_GOOGLES.sub(lambda found: TYPES[found[0]], sql))
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    connection = psycopg2.connect(server.create_database())
    connection.autocommit = True

    def execute(sql: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    yield Postgres(), execute
    connection.close()


def literal(value: object) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP WITH TIME ZONE '{value.isoformat()}'"
    return f"'{value}'" if isinstance(value, str) else str(value)


def insert(execute: Execute, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    if rows:
        execute(f"INSERT INTO {table} VALUES {values}")


@pytest.mark.parametrize("has_version", [True, False])
@pytest.mark.parametrize("ignored_before", [None, START + timedelta(minutes=4)])
def test_the_merge_filter_lets_through_what_the_model_allows(
    engine: tuple[Dialect, Execute], ignored_before: datetime | None, has_version: bool
) -> None:
    """Many small cases in one pair of tables: each case has ids of its own."""
    dialect, execute = engine
    chance = random.Random(f"{ignored_before} {has_version}")
    versions = VERSIONS[1:] if has_version else VERSIONS
    staged: list[Staged] = []
    stored: dict[int, str] = {}
    for case in range(150 if isinstance(dialect, BigQuery) else 600):
        if chance.random() < 0.6:
            stored[case] = chance.choice(versions)
        # No two rows of an id in a load package have the same version and time.
        pairs = [(version, minute) for version in versions for minute in range(8)]
        for version, minute in chance.sample(pairs, chance.randint(0, 4)):
            staged.append(Staged(len(staged), case, version, chance.random() < 0.4, minute))
    columns = "change_version VARCHAR, is_deleted BOOLEAN, synced_at TIMESTAMP WITH TIME ZONE"
    execute(f"CREATE TABLE staged (number BIGINT, id BIGINT, {columns})")
    execute(f"CREATE TABLE stored (id BIGINT, {columns})")
    values = [(*astuple(row)[:4], row.synced_at) for row in staged]
    insert(execute, "staged", values)
    insert(execute, "stored", [(id_, version, False, START) for id_, version in stored.items()])

    by_id: dict[int, list[Staged]] = {}
    for row in staged:
        by_id.setdefault(row.id, []).append(row)
    wanted = {
        row.case
        for rows in by_id.values()
        for row in allowed(rows, stored, ignored_before, has_version)
    }
    assert 0 < len(wanted) < len(by_id)
    for is_new_table in (True, False):
        condition = merge_filter(
            dialect,
            table="stored",
            staging="staged",
            ignore_live_rows_before=ignored_before,
            has_version=has_version,
            is_new_table=is_new_table,
        )
        found = {number for (number,) in execute(f"SELECT number FROM staged WHERE {condition}")}
        assert found == wanted, is_new_table


@pytest.mark.parametrize(
    ("rows", "stored", "found"),
    [
        ([(1, "A", False, 5), (2, "A", False, 5)], [], [1, 2]),
        ([(1, "A", False, 5), (2, "A", False, 5)], [(2, "B", False, 5)], [1]),
        ([(1, "A", False, 5), (1, "B", False, 5)], [], [1]),
        ([(1, "A", False, 5), (2, "A", True, 5)], [], [1]),
        ([(1, "A", False, 5), (2, "A", False, 3)], [], [1]),
        ([], [], []),
    ],
    ids=["all are new", "stored newer", "an id twice", "a delete", "restarted since", "none"],
)
def test_a_merge_into_a_new_table_lets_through_what_any_other_does(
    rows: list[tuple[Any, ...]], stored: list[tuple[Any, ...]], found: list[int]
) -> None:
    """In each case but the first, one row makes the filter count for all."""
    columns = "id BIGINT, change_version VARCHAR, is_deleted BOOLEAN, synced_at TIMESTAMPTZ"
    with duckdb.connect() as database:
        for table, values in (("staged", rows), ("stored", stored)):
            database.execute(f"CREATE TABLE {table} ({columns})")
            for *value, minute in values:
                moment = START + timedelta(minutes=minute)
                database.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", [*value, moment])
        condition = merge_filter(
            DuckDB(),
            table="stored",
            staging="staged",
            ignore_live_rows_before=START + timedelta(minutes=4),
            has_version=True,
            is_new_table=True,
        )
        query = f"SELECT id FROM staged WHERE {condition} ORDER BY id"
        assert [id_ for (id_,) in database.execute(query).fetchall()] == found


@pytest.mark.parametrize("is_new_table", [True, False])
@pytest.mark.parametrize("engine", ["duckdb", "postgres"], indirect=True)
def test_of_rows_that_are_staged_twice_the_merge_filter_lets_one_through(
    engine: tuple[Dialect, Execute], is_new_table: bool
) -> None:
    """A staging load that was repeated after a crash leaves exact copies; BigQuery repeats none."""
    dialect, execute = engine
    execute(
        "CREATE TABLE staged (id BIGINT, change_version VARCHAR, is_deleted BOOLEAN,"
        " synced_at TIMESTAMP WITH TIME ZONE)"
    )
    execute("CREATE TABLE stored AS SELECT * FROM staged WHERE FALSE")
    insert(execute, "staged", [(id_, "A", False, START) for id_ in (1, 2, 3)] * 3)
    condition = merge_filter(
        dialect,
        table="stored",
        staging="staged",
        ignore_live_rows_before=None,
        has_version=True,
        is_new_table=is_new_table,
    )
    found = execute(f"SELECT id FROM staged WHERE {condition} ORDER BY id")
    assert found == [(1,), (2,), (3,)]


def test_on_bigquery_no_path_qualifies_a_column() -> None:
    """The emulator accepts it, the service does not."""
    key = BigQuery().row_key("`acme-warehouse`.`protime_data_staging`.`assignments`")
    assert key.startswith("TO_JSON_STRING(STRUCT(`assignments`.id AS id, `assignments`.change_")
