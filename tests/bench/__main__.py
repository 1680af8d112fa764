"""How fast the source is, compared with the floor and with dlt's `rest_api`.

    uv run --group bench python -m tests.bench --rows 1000000 --plot speed.png

Each load runs in a process of its own against a tenant in another one, whose pages are ready.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib import pyplot

from tests.bench.measures import Measure, load_command, measured, order, tenant
from tests.bench.settings import duckdb, settings
from tests.servers.postgres import PostgresServer

CHANGES = 1_000
SMALL = 100_000
"""As many rows as dlt's `rest_api` loads from the slow tenant within a minute."""

FIRST_LOADS = {
    "floor": "floor: bare client, `read_json`",
    "source": "this source",
    "rest_api": "dlt's `rest_api`, as it comes",
    "rest_api_best": "dlt's `rest_api`, at its best",
}
HEAD = "| {} | wall | CPU | peak memory |\n|---|---|---|---|"

Place = Callable[[Path], dict[str, str]]
"""Creates an empty warehouse; returns the settings that lead to it."""


@dataclass
class Bench:
    """Medians of several tries, each in an empty folder.

    Attributes:
        repeat: The number of tries.
        place: Creates the warehouse.
        folder: The working folder.
    """

    repeat: int
    place: Place
    folder: Path

    def first(self, load: str, url: str, latency: float) -> Measure:
        """Measures a first load."""
        return Measure.of(self._first(load, url, latency) for _ in range(self.repeat))

    def later(self, url: str, **orders: object) -> Measure:
        """Measures runs after one first load, each after the same order to the tenant."""
        with self._loaded(url) as (folder, environment):
            return Measure.of(
                self._ordered(url, folder, environment, orders) for _ in range(self.repeat)
            )

    def resync(self, url: str, latency: float) -> Measure:
        """Runs after an expiry, each after a first load of its own: what is marked stays so."""
        return Measure.of(self._resync(url, latency) for _ in range(self.repeat))

    def _first(self, load: str, url: str, latency: float) -> Measure:
        order(url, latency=latency)
        with self._prepared(url) as (folder, environment):
            return measured(load_command(load, url, folder), folder, environment)

    def _resync(self, url: str, latency: float) -> Measure:
        with self._loaded(url) as (folder, environment):
            return self._ordered(url, folder, environment, {"expired": True, "latency": latency})

    def _ordered(
        self, url: str, folder: Path, environment: dict[str, str], orders: dict[str, object]
    ) -> Measure:
        order(url, **orders)
        return measured(load_command("source", url, folder), folder, environment)

    @contextmanager
    def _loaded(self, url: str) -> Iterator[tuple[Path, dict[str, str]]]:
        order(url)
        with self._prepared(url) as (folder, environment):
            measured(load_command("source", url, folder), folder, environment)
            yield folder, environment

    @contextmanager
    def _prepared(self, url: str) -> Iterator[tuple[Path, dict[str, str]]]:
        with TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            yield folder, {**settings(url, folder), **self.place(folder)}


def _postgres(server: PostgresServer) -> Place:
    def place(_: Path) -> dict[str, str]:
        url = server.create_database()
        return {"DESTINATION_TYPE": "postgres", "DESTINATION__POSTGRES__CREDENTIALS": url}

    return place


def _sizes(rows: int) -> list[int]:
    """Returns the powers of ten below a number of rows, and the number."""
    return [*(n for n in (10_000, 100_000, 1_000_000) if n < rows), rows]


def _loads(engine: str, rows: int) -> list[str]:
    """Returns the loads to measure: dlt's `rest_api` takes too much above a million rows."""
    if engine == "postgres":
        return ["source"]
    return list(FIRST_LOADS)[: 2 if rows > 1_000_000 else None]


def _line(name: str, measure: Measure, floor: Measure | None = None) -> Measure:
    ratio = f" ({measure.wall / floor.wall:.1f}x)" if floor else ""
    print(f"| {name}{ratio} | {measure} |", flush=True)
    return measure


def compare(
    bench: Bench, url: str, title: str, names: list[str], latency: float = 0
) -> dict[str, float]:
    """Prints first loads and later runs; returns seconds by name."""
    print(f"\n{title}, first load\n\n{HEAD.format('(times the floor)')}")
    found: dict[str, Measure] = {}
    for name in names:
        measure = bench.first(name, url, latency)
        found[FIRST_LOADS[name]] = _line(
            FIRST_LOADS[name], measure, found.get(FIRST_LOADS["floor"])
        )
    print(f"\n{title}, later runs\n\n{HEAD.format('run')}")
    _line("no change", bench.later(url, latency=latency))
    changes = f"{CHANGES:,} changes"
    found[changes] = _line(changes, bench.later(url, changes=CHANGES, latency=latency))
    _line("resync, 1 % vanished", bench.resync(url, latency))
    return {name: measure.wall for name, measure in found.items()}


def plot(times: dict[str, dict[int, float]], file: Path) -> None:
    """Draws seconds against rows."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in times.items():
        axes.plot(list(points), list(points.values()), marker="o", label=name.replace("`", ""))
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    axes.grid(which="both", alpha=0.25)
    axes.legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="tries, of which the median counts")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds, for the slow tenant")
    parser.add_argument(
        "--slow-rows",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000],
        help="the slow tenant's sizes",
    )
    parser.add_argument("--engines", nargs="+", default=["duckdb", "postgres"])
    parser.add_argument("--plot", type=Path, help="a PNG to draw")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to work")
    return parser.parse_args()


def main() -> None:
    """Measures all, and prints Markdown."""
    options = _options()
    times: dict[str, dict[int, float]] = {}
    with ExitStack() as stack:
        for engine in options.engines:
            postgres = engine == "postgres"
            place = _postgres(stack.enter_context(PostgresServer())) if postgres else duckdb
            bench = Bench(options.repeat, place, options.folder)
            print(f"\n### {engine}")
            for rows in _sizes(options.rows):
                names, title = _loads(engine, rows), f"{rows:,} rows"
                with tenant(rows) as url:
                    for name, seconds in compare(bench, url, title, names).items():
                        times.setdefault(f"{name}, {engine}", {})[rows] = seconds
                    if options.latency and rows in options.slow_rows:
                        slow = f"{title}, {1000 * options.latency:.0f} ms a page"
                        few = names[: 2 if rows > SMALL else None]
                        compare(bench, url, slow, few, options.latency)
    if options.plot:
        plot(times, options.plot)


if __name__ == "__main__":
    main()
