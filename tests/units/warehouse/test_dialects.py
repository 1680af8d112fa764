"""Each engine knows its errors; DuckDB's file appears whole or not at all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from protime_source.errors import SettingsError, WarehouseError
from protime_source.warehouse.dialect import advice_on, dialects
from protime_source.warehouse.duckdb import check_file_name, create_file
from protime_source.warehouse.postgres import ServerFacts, problem_of


@pytest.mark.parametrize(
    ("error_text", "advice"),
    [
        (
            'IO Error: Could not set lock on file "/data/warehouse.duckdb": Conflicting lock is'
            " held in python (PID 1)",
            "often a notebook, so it could not be opened here. Close it there, then run again."
            " It is /data/warehouse.duckdb.",
        ),
        (
            'IO Error: Cannot open file "/data/.warehouse.duckdb.protime": Permission denied',
            "Check its path and its permissions. It is /data/warehouse.duckdb.",
        ),
        (
            "cannot drop table assignments because other objects depend on it\n"
            "DETAIL:  view reports.theirs depends on table assignments\n",
            "Drop the view, run again, and create the view again. It is view reports.theirs.",
        ),
        ("permission denied for schema protime_data", "GRANT CREATE ON DATABASE"),
        (
            'could not translate host name "***@127.0.0.1" to address: unknown',
            "Write %40 for an @ in the password, and %2F for a slash.",
        ),
        ("cannot execute CREATE TABLE in a read-only transaction", "name the primary server"),
        (
            'IO Error: Failed to download extension "ducklake" at URL "http://extensions.example"',
            "DuckDB lacks its extension ducklake, and could not download it.",
        ),
        (
            'DATA_PATH parameter "/new/" does not match existing data path in the catalog "/old/".'
            "\nYou can override the DATA_PATH by setting OVERRIDE_DATA_PATH to True.",
            'This DuckLake keeps its files in "/old/"',
        ),
        (
            "TransactionContext Error: Failed to commit: Failed to commit DuckLake transaction.\n"
            'Transaction conflict - attempting to insert into table with index "2" - but another'
            " transaction has deleted from it",
            "Another program has changed the lake while this run was writing to it",
        ),
        (
            "TransactionContext Error: Failed to commit: Failed to commit DuckLake transaction.\n"
            "Failed to flush changes into DuckLake: database is locked",
            "Another program has changed the lake while this run was writing to it",
        ),
        (
            "IO Error: Failed to query most recent snapshot for DuckLake: Unable to connect to"
            ' Postgres at "postgres://***@127.0.0.1/lake": connection to server at "127.0.0.1",'
            " port 5432 failed: Connection refused\n\tIs the server running on that host",
            'cannot be opened: connection to server at "127.0.0.1", port 5432 failed: Connection'
            " refused. Check [destination.ducklake.credentials] catalog.",
        ),
        (
            'Failed to initialize DuckLake: Failed to execute query "CREATE SCHEMA  IF NOT EXISTS'
            '"lake"": ERROR:  permission denied for database planning',
            "may not create or change the catalog of the DuckLake",
        ),
        (
            'Failed to probe DuckLake metadata: Unable to open database "/lake": unable to open'
            " database file",
            "The DuckLake cannot be used: Failed to probe DuckLake metadata",
        ),
        ("OSError: [Errno 28] No space left on device", "Make room, then run again."),
        (
            'No space left on device\n  File "/site-packages/dlt/pipeline.py", line 7',
            "Make room, then run again.",
        ),
    ],
)
def test_an_error_of_an_engine_becomes_advice_that_names_the_obstacle(
    error_text: str, advice: str
) -> None:
    found = advice_on(error_text)
    assert found is not None
    assert advice in found
    assert found.endswith(".")
    assert "site-packages" not in found


def test_an_unknown_error_has_no_advice() -> None:
    assert advice_on("division by zero") is None


def test_all_error_patterns_of_all_engines_are_distinct_and_valid() -> None:
    patterns = [pattern for each in dialects().values() for pattern, _ in each.error_advice]
    assert len(patterns) == len({*map(re.compile, patterns)})


POSTGRES = ServerFacts(
    version=15_00_00,
    encoding="UTF8",
    client_encoding="UTF8",
    only_reads=False,
    may_create_schemas=True,
    schemas=0,
    usable_schemas=0,
)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"version": 18_00_06}, ""),
        ({"version": 14_00_22}, "This server is Postgres 14, which has no MERGE."),
        ({"version": 9_06_24}, "This server is Postgres 9, which has no MERGE."),
        ({"encoding": "SQL_ASCII"}, "database is SQL_ASCII, which cannot hold every text"),
        ({"client_encoding": "LATIN1"}, "client_encoding of this Postgres connection is LATIN1"),
        ({"only_reads": True}, "can only read"),
        ({"may_create_schemas": False}, "may not create"),
        ({"may_create_schemas": False, "schemas": 1, "usable_schemas": 1}, "may not create"),
        ({"may_create_schemas": False, "schemas": 2, "usable_schemas": 2}, ""),
        ({"schemas": 2, "usable_schemas": 1}, "may not create"),
    ],
)
def test_a_postgres_that_cannot_do_its_part_is_told_by_what_it_says_of_itself(
    facts: dict[str, Any], words: str
) -> None:
    problem = problem_of(replace(POSTGRES, **facts))
    assert words in problem
    assert bool(problem) == bool(words)


def test_a_duckdb_file_must_not_have_the_name_of_the_dataset(tmp_path: Path) -> None:
    check_file_name(tmp_path / "warehouse.duckdb", "protime_data")
    with pytest.raises(SettingsError, match="the two names must differ"):
        check_file_name(tmp_path / "Protime_Data.duckdb", "protime_data")


def test_a_duckdb_file_is_created_once_and_left_overs_of_a_kill_are_removed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warehouse.duckdb"
    unfinished = tmp_path / ".warehouse.duckdb.protime"
    unfinished.write_text("half a file")
    create_file(path, "protime")
    assert [*tmp_path.iterdir()] == [path]
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE kept (id BIGINT)")
    create_file(path, "protime")
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM kept").fetchall() == [(0,)]


def test_a_duckdb_file_is_not_created_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="its folder does not exist"):
        create_file(tmp_path / "missing" / "warehouse.duckdb", "protime")
