"""The clock of one run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pendulum

_STEP = timedelta(microseconds=1)


class MonotonicClock:
    """Times that only grow, also when the machine's clock is set back or was ahead.

    Args:
        now: The current time (UTC).
    """

    def __init__(self, now: Callable[[], datetime] = lambda: pendulum.now("UTC")) -> None:
        self._now = now
        self._last: datetime | None = None

    @property
    def latest(self) -> datetime | None:
        """The latest time that `after` returned (UTC)."""
        return self._last

    def now(self) -> datetime:
        """Returns the machine's time (UTC), which may be earlier than what `after` returned."""
        return self._now()

    def after(self, *moments: datetime | None) -> datetime:
        """Returns the current time (UTC), later than the moments and any time returned before."""
        floors = [moment for moment in (*moments, self._last) if moment is not None]
        self._last = max([self._now(), *(floor + _STEP for floor in floors)])
        return self._last
