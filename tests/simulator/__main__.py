"""Many histories, over night or for a fault: `python -m tests.simulator --help`."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.simulator.mutations import MUTATIONS, REAL_ONLY, without
from tests.simulator.shrink import as_code, shrink
from tests.simulator.steps import make_history
from tests.simulator.world import Met, World

CHUNK = 250
"""Seeds that a process takes at once."""

MANY_ENOUGH = 20_000
"""Histories within which a mutation must be found."""

Found = tuple[int, str]
"""A seed, and what is wrong with its history."""


def live_through_seeds(seeds: range) -> tuple[Met, list[Found], float]:
    """Lives through the histories of some seeds; returns coverage, failures and CPU seconds."""
    met: Met = Counter()
    found: list[Found] = []
    began = time.process_time()
    for seed in seeds:
        try:
            World(make_history(seed), met).live()
        except Exception as error:
            found.append((seed, f"{type(error).__name__}: {error}"))
    return met, found, time.process_time() - began


def _chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, CHUNK):
        yield range(start, min(start + CHUNK, first + count))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--histories", type=int, default=20_000, help="how many")
    parser.add_argument("--processes", type=int, default=1, help="at once")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long")
    parser.add_argument("--without", metavar="NAME", help="take a mending out; `all` for each")
    parser.add_argument("--seed", type=int, help="one history: its trace, or what is wrong")
    parser.add_argument("--coverage", action="store_true", help="which event met which state")
    arguments = parser.parse_args()
    with silence():
        if arguments.seed is not None:
            return _show(arguments.seed)
        if arguments.without:
            names = [each.name for each in MUTATIONS]
            is_all = arguments.without == "all"
            return _find(names if is_all else [arguments.without], arguments.first)
        return _run(arguments)


@contextmanager
def silence() -> Iterator[None]:
    """Logs nothing: histories log what the people of as many warehouses would read."""
    loggers = [logging.getLogger(name) for name in ("protime_source", "protime_source.progress")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def _run(arguments: argparse.Namespace) -> int:
    met: Met = Counter()
    failures: list[Found] = []
    done, cpu, began = 0, 0.0, time.monotonic()
    chunks = _chunks(arguments.first, arguments.histories)
    with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
        for number, (some, found, seconds) in enumerate(pool.imap(live_through_seeds, chunks)):
            met += some
            failures += found
            done, cpu = min(arguments.histories, (number + 1) * CHUNK), cpu + seconds
            for seed, problem in found:
                print(f"seed {seed}: {problem}", flush=True)
            if arguments.seconds and time.monotonic() - began > arguments.seconds:
                break
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {done:,} histories,"
        f" {len(failures):,} failed, {cpu:,.0f} CPU seconds, {done / max(cpu, 0.001):,.0f} a CPU"
        f" second, {time.monotonic() - began:,.0f} seconds"
    )
    if arguments.coverage:
        print("\n".join(coverage(met)))
    return 1 if failures else 0


def coverage(met: Met) -> list[str]:
    """Which events met which states how often, and which never did."""
    events = sorted({event for event, _ in met})
    states = sorted({state for _, state in met})
    lines = [f"{len(events)} events x {len(states)} states:"]
    lines += [
        f"{event}: " + ", ".join(f"{s} {met[event, s]:,}" for s in states if met[event, s])
        for event in events
    ]
    never = [f"{event} / {state}" for event in events for state in states if not met[event, state]]
    return [*lines, f"never met ({len(never)} of {len(events) * len(states)}):", *never]


def _find(names: list[str], first: int) -> int:
    """Looks for the fault of each mutation."""
    missed = 0
    for name in names:
        seeds = 0
        with without(name) as mutation:
            found: list[Found] = []
            for chunk in _chunks(first, MANY_ENOUGH):
                for seed in chunk:
                    seeds += 1
                    _, found, _ = live_through_seeds(range(seed, seed + 1))
                    if found:
                        break
                if found:
                    break
        missed += not found
        how = f"after {seeds:,} histories: {found[0][1][:90]}" if found else f"NOT in {seeds:,}"
        print(f"{name}: {mutation.fault}\n    found {how}", flush=True)
    if len(names) > 1:
        print("\nOnly a real engine shows:")
        print("\n".join(f"{fault}: {test}" for fault, test in REAL_ONLY.items()))
    return 1 if missed else 0


def _show(seed: int) -> int:
    world = World(make_history(seed), trace=[])
    try:
        world.live()
    except Exception as error:
        print(f"{type(error).__name__}: {error}\n\n{as_code(shrink(make_history(seed)))}")
        return 1
    print("\n".join(world.trace or ()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
