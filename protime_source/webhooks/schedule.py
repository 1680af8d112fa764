"""When the next run is due, and of which collections: rings, the interval, and pauses."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Cause = Literal["start", "interval", "webhook", "retry"]

DEBOUNCE_SECONDS = 0.2
"""How long a ring waits for others: one action in Protime changes records in many collections."""

FIRST_BACKOFF_SECONDS = 5.0
"""The pause after a failure; each further one doubles it, up to the interval."""


@dataclass(frozen=True)
class Due:
    """A run that is due.

    Attributes:
        cause: Why.
        tables: The tables to load.
    """

    cause: Cause
    tables: tuple[str, ...]


class Schedule:
    """Collects rings, and says when to run. Thread-safe, and of bounded size.

    Rings during a run lead to one run after it, however many they are.

    Args:
        tables: All tables that are kept up to date.
        every: Seconds between two runs of all tables.
        pause: Seconds at least between the starts of two runs, so that a flood of rings, forged
            or not, starts no flood of runs.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        tables: tuple[str, ...],
        *,
        every: float,
        pause: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables, self._every, self._pause, self._clock = tables, every, pause, clock
        self._changed = threading.Condition()
        self._waiting: dict[str, Cause] = {}
        self._ready_at = math.inf
        self._all_at = clock()
        self._all_cause: Cause = "start"
        self._not_before = -math.inf
        self._failures = 0
        self._stopped = False

    def ring(self, tables: Iterable[str]) -> None:
        """Notes that tables have changes to load."""
        with self._changed:
            self._add(tables, "webhook", DEBOUNCE_SECONDS)

    def failed(self, tables: Iterable[str]) -> float:
        """Notes that a run failed: these tables are tried again, after ever longer pauses.

        Returns:
            The seconds until then.
        """
        with self._changed:
            backoff = min(FIRST_BACKOFF_SECONDS * 2.0**self._failures, self._every)
            self._failures = min(self._failures + 1, 30)
            self._not_before = max(self._not_before, self._clock() + backoff)
            self._add(tables, "retry", 0)
            return backoff

    def succeeded(self) -> None:
        """Notes that a run succeeded."""
        with self._changed:
            self._failures = 0

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Ends the wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait(self, until: float = math.inf) -> Due | None:
        """Waits until a run is due; it begins with the return.

        Args:
            until: When to return without one.

        Returns:
            The run; `None` when there is none until then, or after `stop`.
        """
        with self._changed:
            while not self._stopped:
                if (due := self.take()) is not None:
                    return due
                now = self._clock()
                if now >= until:
                    break
                self._changed.wait(min(self._due_at(), until, now + threading.TIMEOUT_MAX) - now)
            return None

    def take(self) -> Due | None:
        """Returns the run that is due now, which begins; `None` when none is."""
        with self._changed:
            now = self._clock()
            if now < self._due_at():
                return None
            cause, tables = self._all_cause, self._tables
            if now < self._all_at:
                causes = set(self._waiting.values())
                cause = "webhook" if "webhook" in causes else "retry"
                tables = tuple(table for table in self._tables if table in self._waiting)
            else:
                self._all_at, self._all_cause = now + self._every, "interval"
            self._waiting.clear()
            self._ready_at, self._not_before = math.inf, now + self._pause
            return Due(cause, tables)

    def _add(self, tables: Iterable[str], cause: Cause, delay: float) -> None:
        for table in tables:
            if table in self._tables:
                self._waiting.setdefault(table, cause)
        if self._waiting:
            self._ready_at = min(self._ready_at, self._clock() + delay)
            self._changed.notify_all()

    def _due_at(self) -> float:
        return max(min(self._ready_at, self._all_at), self._not_before)
