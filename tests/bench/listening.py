"""How long a change in Protime takes to become a row, with `protime listen`.

    uv run python -m tests.bench.listening --changes 100

The demo tenant and the listener run in processes of their own, on DuckDB. A change counts as a row
when the listener's metrics show it, which they do after the warehouse's commit.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import requests

from protime_source.demo import DemoServer, DemoTenant

LIMIT_SECONDS = 120
WRITTEN = re.compile(r"^protime_rows_written_total(?:\{.*\})? (\d+)", re.MULTILINE)


class Listener:
    """A `protime listen` in a process of its own.

    Args:
        process: The process.
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._pid, self._port = process.pid, port
        self._http = requests.Session()
        self._http.trust_env = False

    def written(self) -> int:
        """Returns how many rows all its runs have written."""
        url = f"http://127.0.0.1:{self._port}/metrics"
        return sum(int(each) for each in WRITTEN.findall(self._http.get(url, timeout=10).text))

    def wait(self, rows: int) -> float:
        """Waits until so many rows are written; returns the seconds."""
        started = time.perf_counter()
        while self.written() < rows:
            if time.perf_counter() > started + LIMIT_SECONDS:
                raise TimeoutError(f"{rows} rows were not written in {LIMIT_SECONDS} s")
            time.sleep(0.02)
        return time.perf_counter() - started

    @property
    def cpu(self) -> float:
        """Seconds of processor that it has used, user and system."""
        _, _, fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(") ")
        return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def listening(server: DemoServer, folder: Path, **settings: str) -> Iterator[Listener]:
    """Starts a listener; returns it before its first run is over."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        **server.environment(),
        **{f"SOURCES__PROTIME__{name.upper()}": value for name, value in settings.items()},
        "DESTINATION__DUCKDB__CREDENTIALS": str(folder / "warehouse.duckdb"),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    command = [sys.executable, "-m", "protime_source", "listen"]
    command += ["--url", f"http://127.0.0.1:{port}", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            try:
                listener = Listener(process, port)
                listener.written()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield listener
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_SECONDS)


def measure(changes: int, collections: str, pause: float) -> None:
    """Makes changes one after the other, and prints how long each took to be a row."""
    with TemporaryDirectory() as name:
        tenant = DemoTenant(rows=300)
        structures = ",".join(tenant.structures)
        with (
            DemoServer(tenant) as server,
            listening(
                server, Path(name), collections=collections, activity_structures=structures
            ) as listener,
        ):
            listener.wait(300)
            rows = -1
            while rows != (rows := listener.written()):  # the first run, of all collections
                time.sleep(3)
            seconds, cpu = [], listener.cpu
            for number in range(changes):
                time.sleep(random.uniform(0, pause))
                tenant.create({"person": {"id": 1}, "from": f"{time.gmtime().tm_year}-01-05"})
                seconds.append(listener.wait(rows + number + 1))
            cpu = (listener.cpu - cpu) / changes
    deciles = quantiles(seconds, n=10)
    print(
        f"{changes} changes, collections: {collections}. From change to row: median"
        f" {median(seconds):.2f} s, nine in ten below {deciles[-1]:.2f} s, longest"
        f" {max(seconds):.2f} s; {cpu:.2f} s of CPU a change."
    )


def main() -> None:
    """Measures as the options say."""
    parser = argparse.ArgumentParser("python -m tests.bench.listening", description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--collections", default="all")
    parser.add_argument("--pause", type=float, default=4, help="seconds at most between changes")
    options = parser.parse_args()
    measure(options.changes, options.collections, options.pause)


if __name__ == "__main__":
    main()
