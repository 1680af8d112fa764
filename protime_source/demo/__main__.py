"""Runs a demo tenant in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import suppress

from protime_source.demo import DemoServer, DemoTenant


def main() -> None:
    """Serve a tenant, print the settings that point to it, and change its data at intervals."""
    options = _options()
    try:
        _serve(options)
    except (OSError, OverflowError) as error:
        sys.exit(f"error: port {options.port} cannot be used ({error}). Take another, or --port 0.")


def _serve(options: argparse.Namespace) -> None:
    # A shell starts background processes with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        tenant = DemoTenant(rows=options.rows, seed=options.seed)
        with DemoServer(tenant, port=options.port) as server:
            for name, value in server.environment().items():
                print(f"export {name}={value}", flush=True)
            structures = ",".join(tenant.structures)
            print(f"export SOURCES__PROTIME__ACTIVITY_STRUCTURES={structures}", flush=True)
            print("# A tenant is running here until Ctrl-C.", flush=True)
            _change_data(tenant, options.churn_every, max(1, options.rows // 200))


def _change_data(tenant: DemoTenant, seconds: float, changes: int) -> None:
    """Make some changes at each interval of so many seconds, for ever; none when it is 0."""
    while True:
        _sleep(seconds or 3600)
        tenant.churn(changes if seconds else 0)


def _sleep(seconds: float) -> None:
    """Sleep in short steps, because a Ctrl-C just before a sleep takes effect only after it."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m protime_source.demo", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="assignments at the start")
    parser.add_argument("--seed", type=int, default=1, help="seed of the data")
    parser.add_argument("--port", type=int, default=8123, help="TCP port; 0 takes a free one")
    parser.add_argument(
        "--churn-every", type=float, default=30, help="seconds between changes; 0 for none"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
