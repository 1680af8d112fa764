"""Whether a peer has loaded what the tenant has, value by value."""

from __future__ import annotations

from datetime import date
from itertools import islice
from pathlib import Path

import duckdb
import msgspec

from protime_source.demo.data import assignments
from tests.bench.peers.peer import Peer
from tests.bench.tenant import FIRST_ID, VANISHES, first_version

COLUMNS = {
    "id": "BIGINT",
    "changeVersion": "VARCHAR",
    "isRejected": "BOOLEAN",
    "person": "BIGINT",
    "from": "DATE",
    "until": "DATE",
    "startTimeInMinutes": "BIGINT",
    "endTimeInMinutes": "BIGINT",
    "breakDurationInMinutes": "BIGINT",
    "comments": "VARCHAR",
    "activityLevels": "STRUCT(level BIGINT, activityDefinition STRUCT(id VARCHAR))[]",
}
"""The fields of a record, each with DuckDB's type; of the person the id."""


class Expected:
    """The tenant's records in a database of their own.

    Args:
        rows: How many there are.
        folder: Where to work.
    """

    def __init__(self, rows: int, folder: Path) -> None:
        self.rows = rows
        records = folder / "expected.json"
        with records.open("wb") as file:
            made = enumerate(islice(assignments(rows=rows, seed=1, today=date.today()), rows))
            for number, fields in made:
                record = {"id": FIRST_ID + number, "changeVersion": first_version(), **fields}
                file.write(msgspec.json.encode(record) + b"\n")
        fields = {**COLUMNS, "person": "STRUCT(id BIGINT)"}
        self._sums = _sums(
            duckdb.connect(),
            "SELECT * REPLACE (person.id AS person)"
            f" FROM read_json('{records}', format = 'nd', columns = {fields})",
        )
        records.unlink()

    def difference(self, peer: Peer, folder: Path) -> str:
        """Returns what a peer's table has that differs; "" when nothing does."""
        with duckdb.connect(str(folder / peer.file), read_only=True) as connection:
            found = _sums(connection, f"SELECT {peer.columns} FROM {peer.table} t")
        names = ("rows", *COLUMNS)
        return ", ".join(n for n, a, b in zip(names, self._sums, found, strict=True) if a != b)


def _sums(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[int, ...]:
    """The number of rows, and for each column a sum over ids and values, in any order."""
    columns = ", ".join(
        f'SUM(HASH("id", CAST("{name}" AS {kind}))::HUGEINT)' for name, kind in COLUMNS.items()
    )
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    query = f"WITH r({names}) AS ({rows}) SELECT COUNT(*), {columns} FROM r"
    [sums] = connection.execute(query).fetchall()
    return tuple(int(each or 0) for each in sums)


def found_rows(peer: Peer, folder: Path) -> int:
    """Returns how many rows a reader finds; 0 when there is no table."""
    file = folder / peer.file
    if not file.exists():
        return 0
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            [(count,)] = connection.execute(f"SELECT COUNT(*) FROM {peer.table}").fetchall()
    except duckdb.Error:
        return 0
    return int(count)


def fate_of_deleted(peer: Peer, rows: int, folder: Path) -> str:
    """Returns what became of the rows that the tenant has deleted."""
    deleted = f"(id - {FIRST_ID}) % {VANISHES} = {VANISHES - 1}"
    with duckdb.connect(str(folder / peer.file), read_only=True) as connection:
        [(there, kept)] = connection.execute(
            f"SELECT COUNT(*), COUNT(*) FILTER ({peer.deleted}) FROM {peer.table} WHERE {deleted}"
        ).fetchall()
    expected = rows // VANISHES
    if kept == expected:
        return "kept as deleted"
    if there == 0:
        return "removed"
    return "stay, as if live" if there == expected and not kept else f"{kept} of {there} kept"
