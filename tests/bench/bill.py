"""What BigQuery bills for a run, computed from the statements that runs send.

    uv run python -m tests.bench.bill

Each kind of run is done once against the emulator, with few rows. Every statement is parsed for the
columns that it names; their sizes, by BigQuery's rules, are those of the demo's rows. A query is
billed the columns that it names in full, at least 10 MB a table; one that updates or deletes, all
columns of its target too. Clustering, which saves part of it, is left out: these are upper bounds.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import sqlglot
from dlt.destinations.impl.bigquery.sql_client import BigQuerySqlClient
from sqlglot import exp

from protime_source.demo import DemoServer, DemoTenant
from protime_source.pipeline.load import PACKAGE_BYTES, load
from protime_source.pipeline.states import STATES_KEPT
from protime_source.warehouse.bigquery import BigQuery
from tests.servers.bigquery import BigQueryServer

ROWS = 2_000
"""Rows of the table in the emulator."""

CHANGES = 1_000
"""Rows that a run of changes changes."""

DIFFERING = 0.01
"""The share of rows that a full load finds different."""

JSON_BYTES = 405
"""Of one assignment in a page."""

SIZES = (10**5, 10**6, 10**7, 10**8)
RUNS = 10_000
"""Runs before, whose rows the ledger and dlt's own tables hold."""

MINIMUM = 10 * 10**6
SIZES_OF_TYPES = {"INTEGER": 8, "BOOLEAN": 1, "DATE": 8, "TIMESTAMP": 8, "FLOAT": 8}

NOT_BILLED = (exp.Create, exp.Drop, exp.TruncateTable, exp.Alter)
Sizes = dict[str, dict[str, float]]
"""The mean bytes of each column, by table."""

Column = tuple[str, str]
"""A table and one of its columns; those of the staging dataset begin with `staging.`."""


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Records the statements that dlt's client sends."""
    statements: list[str] = []
    execute = BigQuerySqlClient.execute_query

    @contextmanager
    def observed(self: Any, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        statements.append(str(query))
        with execute(self, query, *args, **kwargs) as cursor:
            yield cursor

    BigQuerySqlClient.execute_query = observed  # type: ignore[method-assign]
    try:
        yield statements
    finally:
        BigQuerySqlClient.execute_query = execute  # type: ignore[method-assign]


def statements_of_runs(server: BigQueryServer, folder: Path) -> dict[str, list[str]]:
    """Does each kind of run once; returns its statements."""
    tenant = DemoTenant(rows=ROWS)
    found = {}
    with DemoServer(tenant) as api:
        os.environ |= api.environment() | server.environment()

        def run(name: str, **arguments: Any) -> None:
            pipeline = dlt.pipeline(
                "protime",
                destination="bigquery",
                dataset_name="protime_data",
                pipelines_dir=str(folder),
            )
            with recorded() as statements:
                load(pipeline, **arguments)
            found[name] = list(statements)

        run("first load")
        run("the run after it")
        run("no change")
        tenant.churn(ROWS // 20)
        run("changes")
        tenant.churn(ROWS // 20)
        run("full load", full_resync=True)
    return found


def sizes(server: BigQueryServer) -> Sizes:
    """The mean size of each column of each table that exists, in bytes."""
    client = server.client()
    found: Sizes = {}
    for dataset in ("protime_data", "protime_data_staging"):
        for item in client.list_tables(dataset):
            if item.table_type == "VIEW":
                continue
            prefix = "staging." if dataset.endswith("_staging") else ""
            fields = client.get_table(item.reference).schema
            widths: dict[str, float] = {}
            for field in fields:
                if field.field_type == "STRING":
                    query = f"SELECT AVG(LENGTH({field.name})) FROM {dataset}.{item.table_id}"
                    [(length,)] = client.query_and_wait(query)
                    widths[field.name] = 2 + (length or 0)
                else:
                    widths[field.name] = SIZES_OF_TYPES[field.field_type]
            found[prefix + item.table_id] = widths
    return found


def columns_of(statement: str, known: Sizes) -> set[Column]:
    """The columns that a statement is billed for; all of a table's where it says `*`."""
    tree = sqlglot.parse_one(statement.replace("%s", "NULL"), read="bigquery")
    if isinstance(tree, NOT_BILLED) or "WHERE FALSE" in statement:
        return set()
    billed: set[Column] = set()
    for table in tree.find_all(exp.Table):
        columns, calls = known.get(_name(table), {}), {"", table.alias_or_name}
        named = {c.name for c in tree.find_all(exp.Column) if c.table in calls}
        select = table.find_ancestor(exp.Select)
        has_star = select is not None and any(isinstance(e, exp.Star) for e in select.expressions)
        billed |= {(_name(table), c) for c in columns if has_star or c in named}
    target = tree.this if isinstance(tree, exp.Merge | exp.Update | exp.Delete) else None
    if isinstance(target, exp.Table):
        billed |= {(_name(target), c) for c in known.get(_name(target), {})}
    return billed


def _name(table: exp.Table) -> str:
    return ("staging." if table.db.endswith("_staging") else "") + table.name


def bill(run: str, statements: list[str], known: Sizes, rows: int) -> Counter[str]:
    """The bytes billed for a run, by table.

    A full load comes in parts. Each repeats the merge and what concerns other tables. What reads
    the table itself comes once, at the start or the end, or reads a range of ids: all parts
    together read each row once, because the table is clustered on it.
    """
    parts = 1
    if "load" in run:
        parts = math.ceil(rows * JSON_BYTES / (PACKAGE_BYTES * BigQuery.package_factor))
    total = Counter[str]()
    for statement in statements:
        billed: dict[str, float] = defaultdict(float)
        for table, column in columns_of(statement, known):
            billed[table] += known[table][column] * _rows_of(run, table, rows, parts)
        times = 1 if "assignments" in billed and "MERGE" not in statement else parts
        for table, size in billed.items():
            total[table] += round(times * max(size, MINIMUM))
    return total


def _rows_of(run: str, table: str, rows: int, parts: int) -> float:
    """How many rows a table has in a run; in a first load, in the mean over its parts."""
    match table, run:
        case "assignments", "first load":
            return rows / 2
        case "assignments", _:
            return rows
        case "staging.assignments", "first load":
            return rows / parts
        case "staging.assignments", "full load":
            return rows * DIFFERING / parts
        case "staging.assignments", _:
            return CHANGES
        case (("sync_runs" | "_dlt_loads"), _):
            return RUNS
    return 2 * STATES_KEPT


def main() -> None:
    """Prints Markdown: gigabytes billed, by kind of run and size of the table."""
    with TemporaryDirectory() as folder, BigQueryServer() as server:
        runs = statements_of_runs(server, Path(folder))
        known = sizes(server)
    row_size = sum(known["assignments"].values())
    print(f"A row of assignments: {row_size:.0f} bytes.\n")
    print("| GB billed | " + " | ".join(f"{n:,} rows" for n in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for run, statements in runs.items():
        totals = [bill(run, statements, known, n) for n in SIZES]
        print(f"| {run} | " + " | ".join(f"{t.total() / 1e9:,.2f}" for t in totals) + " |")
        print(run, {k: f"{v / 1e9:.2f}" for k, v in totals[-1].items()}, file=sys.stderr)


if __name__ == "__main__":
    main()
