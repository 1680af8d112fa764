"""Runs a demo tenant in the foreground until Ctrl-C."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from protime_source.demo.server import DemoServer
from protime_source.demo.tenant import DemoTenant


def serve(*, rows: int, seed: int, port: int, churn_every: float) -> int:
    """Serves a tenant, prints the settings that point to it, and changes its data at intervals.

    Args:
        rows: Assignments at the start.
        seed: Seed of the data.
        port: TCP port; 0 takes a free one.
        churn_every: Seconds between changes; 0 for none.

    Returns:
        The exit code.
    """
    try:
        with suppress(KeyboardInterrupt):
            tenant = DemoTenant(rows=rows, seed=seed)
            with DemoServer(tenant, port=port) as server:
                for name, value in server.environment().items():
                    print(f"export {name}={value}", flush=True)
                structures = ",".join(tenant.structures)
                print(f"export SOURCES__PROTIME__ACTIVITY_STRUCTURES={structures}", flush=True)
                print("# A tenant is running here until Ctrl-C.", flush=True)
                _change_data(tenant, churn_every, max(1, rows // 200))
    except (OSError, OverflowError) as error:
        line = f"error: port {port} cannot be used ({error}). Take another, or --port 0."
        print(line, file=sys.stderr)
        return 2
    return 0


def _change_data(tenant: DemoTenant, seconds: float, changes: int) -> None:
    """Make some changes at each interval of so many seconds, for ever; none when it is 0."""
    while True:
        _sleep(seconds or 3600)
        tenant.replan(changes if seconds else 0)


def _sleep(seconds: float) -> None:
    """Sleep in short steps, because a Ctrl-C just before a sleep takes effect only after it."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
