"""What a full load costs beside the first load, and how its memory grows with the rows.

    uv run --isolated --no-default-groups --group bench python -m tests.bench.full_loads

After each first load the delta expires and one row in a hundred is gone; the next run is the full
load. Both are measured in turn.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.measures import Measure, load_command, measured, order, tenant
from tests.bench.settings import duckdb, settings
from tests.servers.postgres import PostgresServer

RUNS = ("first load", "full load")

Warehouse = tuple[dict[str, str], Callable[[], float]]
"""The settings that lead to a warehouse, and what gives the seconds of CPU that its server used."""


def main() -> None:
    """Measures all, and prints Markdown."""
    options = _options()
    print(
        "| engine | rows | run | wall | CPU | peak memory | the server's CPU |\n" + "|---" * 7 + "|"
    )
    for engine in options.engines:
        for rows in options.rows:
            with tenant(rows) as url:
                tries = [_try(engine, url, options.folder) for _ in range(options.repeat)]
            for run in RUNS:
                found = Measure.of(each[run][0] for each in tries)
                server = sorted(each[run][1] for each in tries)[len(tries) // 2]
                print(f"| {engine} | {rows:,} | {run} | {found} | {server:.2f} s |", flush=True)


def _try(engine: str, url: str, folder: Path) -> dict[str, tuple[Measure, float]]:
    """A first load and the full load after it, each with what the server used."""
    with TemporaryDirectory(dir=folder) as name, _warehouse(engine, Path(name)) as (places, used):
        found = {}
        environment = {**settings(url, Path(name)), **places}
        for run in RUNS:
            order(url, expired=run == "full load")
            before = used()
            measure = measured(load_command("source", url, Path(name)), Path(name), environment)
            found[run] = measure, used() - before
        return found


@contextmanager
def _warehouse(engine: str, folder: Path) -> Iterator[Warehouse]:
    if engine == "duckdb":
        yield duckdb(folder), lambda: 0.0
        return
    with PostgresServer() as server:
        credentials = {"DESTINATION__POSTGRES__CREDENTIALS": server.create_database()}
        yield {"DESTINATION_TYPE": "postgres", **credentials}, lambda: _cpu_seconds(server)


def _cpu_seconds(server: PostgresServer) -> float:
    """What the server's processes used, those that have ended included."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    ticks = 0
    for process in (server.pid, *children):
        # utime, stime and those of ended children; the name before may contain anything.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench.full_loads", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--repeat", type=int, default=3, help="tries, of which the median counts")
    parser.add_argument("--engines", nargs="+", default=["duckdb", "postgres"])
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to work")
    return parser.parse_args()


if __name__ == "__main__":
    main()
