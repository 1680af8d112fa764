"""What a listener tells a monitor: its health, and numbers in Prometheus' text format."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Refusal = Literal["path", "size", "signature", "slow"]
Outcome = Literal["succeeded", "failed", "skipped"]

_REFUSALS: tuple[Refusal, ...] = ("path", "size", "signature", "slow")
_CAUSES = ("start", "interval", "webhook", "retry")
_OUTCOMES: tuple[Outcome, ...] = ("succeeded", "failed", "skipped")


@dataclass(frozen=True)
class Health:
    """Whether the warehouse follows Protime.

    Attributes:
        failing: Tables whose last run failed.
        outdated: Tables whose last success is too long ago.
    """

    failing: tuple[str, ...]
    outdated: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failing and not self.outdated


class Metrics:
    """Counts events and runs. Thread-safe, and of bounded size.

    Args:
        tables: All tables that are kept up to date.
        max_age: Seconds after which the last success of a table is too long ago.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        tables: tuple[str, ...],
        *,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables, self._max_age, self._clock = tables, max_age, clock
        self._lock = threading.Lock()
        self._started_at = clock()
        self._events: Counter[str] = Counter()
        self._refused: Counter[Refusal] = Counter()
        self._runs: Counter[tuple[str, Outcome]] = Counter()
        self._begun: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._live_rows: dict[str, int] = {}
        self._succeeded_at: dict[str, float] = {}
        self._failing: set[str] = set()
        self._last_seconds = 0.0
        self.listening: tuple[str, ...] = ()

    def event(self, table: str) -> None:
        """Counts an event that was accepted."""
        with self._lock:
            self._events[table] += 1

    def refused(self, reason: Refusal) -> None:
        """Counts an event that was refused."""
        with self._lock:
            self._refused[reason] += 1

    def begun(self, cause: str) -> None:
        """Counts a run that begins."""
        with self._lock:
            self._begun[cause] += 1

    def ended(
        self,
        cause: str,
        outcome: Outcome,
        seconds: float,
        *,
        loaded: Mapping[str, tuple[int, int]],
        failed: Iterable[str],
    ) -> None:
        """Counts a run that has ended.

        Args:
            cause: Why it was started.
            outcome: How it ended.
            seconds: How long it took.
            loaded: By table, the rows that were written and those that are live now.
            failed: The tables that were not loaded.
        """
        with self._lock:
            self._runs[cause, outcome] += 1
            self._last_seconds = seconds
            self._failing |= {*failed}
            self._failing -= loaded.keys()
            for table, (written, live_rows) in loaded.items():
                self._written[table] += written
                self._live_rows[table] = live_rows
                self._succeeded_at[table] = self._clock()

    def health(self) -> Health:
        """Returns the health at this moment."""
        with self._lock:
            ages = self._ages()
            return Health(
                failing=tuple(table for table in self._tables if table in self._failing),
                outdated=tuple(table for table, age in ages.items() if age > self._max_age),
            )

    def text(self) -> str:
        """Returns all numbers in Prometheus' text format."""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _ages(self) -> dict[str, float]:
        """Seconds since the last success of each table, or since the start before the first."""
        now = self._clock()
        return {t: now - self._succeeded_at.get(t, self._started_at) for t in self._tables}

    def _lines(self) -> Iterator[str]:
        ages, tables = self._ages(), self._tables
        yield from _metric(
            "protime_events_total",
            "counter",
            "Events of webhooks that were accepted.",
            {_labels(table=table): self._events[table] for table in tables},
        )
        yield from _metric(
            "protime_events_refused_total",
            "counter",
            "Events that were refused.",
            {_labels(reason=reason): self._refused[reason] for reason in _REFUSALS},
        )
        yield from _metric(
            "protime_runs_started_total",
            "counter",
            "Runs that were started, by cause.",
            {_labels(cause=cause): self._begun[cause] for cause in _CAUSES},
        )
        yield from _metric(
            "protime_runs_total",
            "counter",
            "Runs that have ended.",
            {
                _labels(cause=cause, outcome=outcome): self._runs[cause, outcome]
                for cause in _CAUSES
                for outcome in _OUTCOMES
            },
        )
        yield from _metric(
            "protime_last_run_seconds", "gauge", "The last run's time.", {"": self._last_seconds}
        )
        yield from _metric(
            "protime_seconds_since_success",
            "gauge",
            "Seconds since a run last loaded the table, or since the start.",
            {_labels(table=table): age for table, age in ages.items()},
        )
        yield from _metric(
            "protime_failing",
            "gauge",
            "1 when the last run of the table failed.",
            {_labels(table=table): int(table in self._failing) for table in tables},
        )
        yield from _metric(
            "protime_listening",
            "gauge",
            "1 when the table has a webhook.",
            {_labels(table=table): int(table in self.listening) for table in tables},
        )
        yield from _metric(
            "protime_live_rows",
            "gauge",
            "Rows of the table that are not soft-deleted.",
            {_labels(table=table): rows for table, rows in self._live_rows.items()},
        )
        yield from _metric(
            "protime_rows_written_total",
            "counter",
            "Rows that were inserted, updated or soft-deleted.",
            {_labels(table=table): self._written[table] for table in tables},
        )


def _labels(**values: str) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"


def _metric(name: str, kind: str, meaning: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values.items():
        yield f"{name}{labels} {value if isinstance(value, int) else round(value, 3)}"
