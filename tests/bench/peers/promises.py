"""What a reader can rely on, tried: deletions, an expired delta, and kills."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.measures import measured, order
from tests.bench.peers.check import Expected, fate_of_deleted, found_rows
from tests.bench.peers.peer import Peer
from tests.bench.settings import duckdb, settings

MOMENTS = (0.5, 0.75, 0.95)
"""When a first load is killed, in parts of the time that it takes."""


def after_deletions(peer: Peer, url: str, rows: int, folder: Path, **orders: bool) -> str:
    """Returns what became of deleted rows after a second run.

    Args:
        peer: The peer.
        url: The tenant's address.
        rows: How many rows the tenant has.
        folder: Where to work.
        orders: The tenant's order between the two runs.
    """
    with TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        order(url)
        measured(peer.command(url, place), place, environment(url, place))
        order(url, **orders)
        try:
            measured(peer.command(url, place), place, environment(url, place))
        except RuntimeError as error:
            print(error)
            return "fails"
        finally:
            order(url)
        return fate_of_deleted(peer, rows, place)


def after_kills(peer: Peer, url: str, expected: Expected, folder: Path, seconds: float) -> str:
    """Returns what a reader finds after kills, and whether the next run makes it right.

    Args:
        peer: The peer.
        url: The tenant's address.
        expected: What the tenant has.
        folder: Where to work.
        seconds: How long a first load takes.
    """
    order(url)
    found: Counter[str] = Counter()
    for moment in MOMENTS:
        with TemporaryDirectory(dir=folder) as name:
            place = Path(name)
            variables = environment(url, place)
            if not _was_killed(peer.command(url, place), place, variables, moment * seconds):
                found["ended before"] += 1
                continue
            rows = found_rows(peer, place)
            found["nothing" if not rows else "all" if rows == expected.rows else "a part"] += 1
            try:
                measured(peer.command(url, place), place, variables)
                is_right = not expected.difference(peer, place)
            except RuntimeError as error:
                print(error)
                is_right = False
            found["next run right" if is_right else "next run wrong"] += 1
    return ", ".join(f"{what} {count}x" for what, count in found.items())


def _was_killed(
    command: list[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> bool:
    """Starts a command and kills it with all that it started; false when it ended before."""
    with (folder / "killed").open("w") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def environment(url: str, folder: Path) -> dict[str, str]:
    """Returns what a peer needs in its environment."""
    return {**settings(url, folder), **duckdb(folder)}
