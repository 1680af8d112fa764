"""Lets instances work for hours with faults, and says what grew and what was wrong.

    uv run python -m tests.soak --minutes 120

On DuckDB and on Postgres, a listener loads what changes every 20 seconds or so. In between come
runs of a scheduler, of which every third is killed, readers, faults of Protime's, expiries, and
crashes of Postgres. It ends with 1 when something grew or was wrong.
"""

from __future__ import annotations

import argparse
import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from tests.engines import DuckDBEngine, Engine, PostgresEngine
from tests.servers.postgres import PostgresServer, execute
from tests.soak import mishaps
from tests.soak.gauges import HEAD
from tests.soak.instance import Instance

_REPORT_SECONDS = 600
_SAMPLE_SECONDS = 10


class Agenda:
    """Does things again and again, each after random times of the same mean.

    Args:
        random: Decides.
    """

    def __init__(self, random: Random) -> None:
        self._random, self._numbers = random, count()
        self._due: list[tuple[float, int, float, Callable[[], object]]] = []

    def add(self, mean_seconds: float, action: Callable[[], object]) -> None:
        """Adds something to do."""
        due_at = time.monotonic() + mean_seconds * self._random.uniform(0.2, 1.8)
        heapq.heappush(self._due, (due_at, next(self._numbers), mean_seconds, action))

    def follow(self, seconds: float) -> None:
        """Does what is due, for so long."""
        ends_at = time.monotonic() + seconds
        while (now := time.monotonic()) < ends_at:
            due_at, _, mean_seconds, action = self._due[0]
            if due_at > now:
                time.sleep(min(due_at, ends_at) - now)
                continue
            heapq.heappop(self._due)
            action()
            self.add(mean_seconds, action)


def plan(agenda: Agenda, instance: Instance, random: Random, pause: float) -> None:
    """Plans what happens to an instance."""

    def counted(mishap: Callable[..., str]) -> Callable[[], object]:
        def happen() -> None:
            if name := mishap(instance.tenant, random):
                instance.counts[name] += 1

        return happen

    agenda.add(1, instance.look_after_processes)
    agenda.add(_SAMPLE_SECONDS, instance.sample)
    agenda.add(5, instance.read)
    agenda.add(pause, instance.change)
    agenda.add(60, counted(mishaps.fault))
    agenda.add(200, instance.run)
    agenda.add(240, instance.keep_ledger_short)
    agenda.add(720, counted(mishaps.expiry))


def restart(server: PostgresServer) -> None:
    """Crashes Postgres and starts it again."""
    server.stop()
    server.start()


def engines(names: list[str], folder: Path, agenda: Agenda, stack: ExitStack) -> Iterator[Engine]:
    """Yields empty warehouses; Postgres crashes now and then, and is vacuumed as by itself."""
    if "duckdb" in names:
        yield DuckDBEngine(folder / "duckdb" / "warehouse.duckdb")
    if "postgres" in names:
        server = stack.enter_context(PostgresServer())
        url = server.create_database()
        agenda.add(60, lambda: execute(url, "VACUUM"))
        agenda.add(900, lambda: restart(server))
        yield PostgresEngine(url)


def report(instance: Instance) -> bool:
    """Prints what an instance has been through; returns whether all is well."""
    print(f"\n### {instance.engine.name}\n")
    print(", ".join(f"{number} {name}" for name, number in sorted(instance.counts.items())))
    lines = list(instance.record.lines())
    print("\n".join(["", HEAD, *(line for _, line in lines)]))
    for problem in instance.problems:
        print(f"\nWRONG: {problem}")
    print(flush=True)
    return not instance.problems and all(is_flat for is_flat, _ in lines)


def main() -> int:
    """Returns 0 when nothing grew and nothing was wrong."""
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--pause", type=float, default=20, help="mean seconds between changes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", nargs="+", default=["duckdb", "postgres"])
    options = parser.parse_args()
    folder, random = Path(mkdtemp(prefix="soak-")), Random(options.seed)
    print(f"Logs: {folder}", flush=True)
    agenda = Agenda(random)
    with ExitStack() as stack:
        instances = []
        for engine in engines(options.engines, folder, agenda, stack):
            own = folder / engine.name
            own.mkdir()
            instances.append(stack.enter_context(Instance(engine, own, random)))
            plan(agenda, instances[-1], random, options.pause)
        ends_at = time.monotonic() + 60 * options.minutes
        while (left := ends_at - time.monotonic()) > 0:
            agenda.follow(min(left, _REPORT_SECONDS))
            for instance in instances if ends_at > time.monotonic() else ():
                report(instance)
        for instance in instances:
            instance.finish()
        results = [report(instance) for instance in instances]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
