"""How fast other ways to load assignments into DuckDB are, and what a reader can rely on.

    uv run --isolated --no-default-groups --group bench python -m tests.bench.peers

Each of them is installed in an environment of its own, from the head of its script in this folder.
They take turns, so that what else the machine does hits all of them; what each has loaded is
compared with the tenant, value by value, before its time counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.measures import Measure, measured, order, tenant
from tests.bench.peers.check import Expected
from tests.bench.peers.peer import PEERS, Peer
from tests.bench.peers.promises import after_deletions, after_kills, environment

PROMISE_ROWS = 2_000
"""What is promised is tried with so many rows."""


def main() -> None:
    """Measures all, and prints Markdown."""
    options = _options()
    peers = {name: PEERS[name] for name in options.peers if _is_installed(PEERS[name])}
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        _compare(peers, options.rows, options.repeat, folder)
        if options.promises:
            _try_promises(peers, folder)


def _compare(peers: dict[str, Peer], rows: int, repeat: int, folder: Path) -> None:
    """Prints the medians of first loads."""
    expected = Expected(rows, folder)
    tries: dict[str, list[Measure]] = {name: [] for name in peers}
    with tenant(rows) as url:
        for _ in range(repeat):
            for name, peer in peers.items():
                tries[name].append(_first_load(peer, url, expected, folder))
                print(f"{name}: {tries[name][-1]}", file=sys.stderr)
    medians = {name: Measure.of(measures) for name, measures in tries.items()}
    own = medians.get("source")
    print(f"\n{rows:,} rows\n\n| first load | wall | CPU | peak memory | wall, CPU against ours |")
    print("|---|---|---|---|---|")
    for name, found in medians.items():
        ratio = f"{found.wall / own.wall:.1f}, {found.cpu / own.cpu:.1f}" if own else ""
        print(f"| {peers[name].title} | {found} | {ratio} |", flush=True)


def _first_load(peer: Peer, url: str, expected: Expected, folder: Path) -> Measure:
    with TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        order(url)
        found = measured(peer.command(url, place), place, environment(url, place))
        if difference := expected.difference(peer, place):
            raise SystemExit(f"{peer.title} has not loaded what the tenant has: {difference}")
        return found


def _try_promises(peers: dict[str, Peer], folder: Path) -> None:
    """Prints what became of deleted rows and of kills."""
    expected = Expected(PROMISE_ROWS, folder)
    print("\n| deleted rows, | after the next run | after an expired delta | first load killed |")
    print("|---|---|---|---|")
    with tenant(PROMISE_ROWS) as url:
        for peer in peers.values():
            if peer.can_repeat:
                wall = _first_load(peer, url, expected, folder).wall
                cells = [
                    after_deletions(peer, url, PROMISE_ROWS, folder, deleted=True),
                    after_deletions(peer, url, PROMISE_ROWS, folder, expired=True),
                    after_kills(peer, url, expected, folder, wall),
                ]
                print(f"| {peer.title} | {' | '.join(cells)} |", flush=True)


def _is_installed(peer: Peer) -> bool:
    """Installs what a peer needs; says so if it cannot be had."""
    try:
        peer.install()
    except subprocess.CalledProcessError as error:
        print(f"{peer.title} is left out, because it cannot be installed: {error.stderr}")
        return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3, help="tries, of which the median counts")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--no-promises", dest="promises", action="store_false", help="measure first loads alone"
    )
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to work")
    return parser.parse_args()


if __name__ == "__main__":
    main()
