"""The tenant's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta


class Clock:
    """A UTC clock that starts at real now, runs on, and can be advanced in an instant."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """The tenant's time, in UTC."""
        return datetime.now(UTC) + self._offset

    def today(self) -> date:
        """The tenant's UTC date."""
        return self.now().date()

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        """Let that much time pass at once."""
        self._offset += timedelta(days=days, hours=hours, seconds=seconds)
