"""Processes measured: wall time, processor time, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec


@dataclass(frozen=True)
class Measure:
    """The time and memory of a process.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor, user and system, over all threads.
        peak: Largest resident memory, in megabytes.
    """

    wall: float
    cpu: float
    peak: float

    @classmethod
    def of(cls, measures: Iterable[Self]) -> Self:
        """Returns the medians."""
        each = list(measures)
        return cls(*(median(getattr(m, name) for m in each) for name in ("wall", "cpu", "peak")))

    def __str__(self) -> str:
        """Returns the cells of a table."""
        return f"{self.wall:.2f} s | {self.cpu:.2f} s | {self.peak:.0f} MB"


def load_command(load: str, url: str, folder: Path) -> list[str]:
    """Returns the command that does one of `loads`."""
    return [sys.executable, "-m", "tests.bench.loads", load, url, str(folder)]


def measured(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Measure:
    """Runs a command; the processes that it starts count too, for memory the largest of them.

    Raises:
        RuntimeError: When it fails; with its output.
    """
    started = time.perf_counter()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": ""},  # as on most machines
            stdout=output,
            stderr=output,
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{command}: exit code {process.returncode}\n{output.read()}")
    return Measure(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


@contextmanager
def tenant(rows: int) -> Iterator[str]:
    """Starts a tenant in a process of its own; returns its address once its pages are made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.tenant", "--rows", str(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def order(url: str, **orders: Any) -> None:
    """Sets what a tenant's next responses contain."""
    connection = HTTPConnection(urlsplit(url).netloc)
    connection.request("POST", "/bench", msgspec.json.encode(orders))
    connection.getresponse().read()
    connection.close()
