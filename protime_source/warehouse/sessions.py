"""What a run waits for in the destination: its own sessions there, and those of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Wait:
    """A session of this process that waits for a lock.

    Attributes:
        session: The waiting session.
        seconds: How long it has waited.
        table_name: What it wants to lock; empty when that is no table.
        blocker: The session that keeps the lock; 0 when that is a prepared transaction.
        user: Its user.
        state: What it does, like `idle in transaction`; empty when this user may not know.
        since: Since when it does that.
        only_reads: Whether it does no more than read the table.
    """

    session: int
    seconds: float
    table_name: str
    blocker: int
    user: str
    state: str
    since: datetime | None
    only_reads: bool

    @property
    def blocking_session(self) -> str:
        """The session that keeps the lock, in words."""
        if not self.blocker:
            return "a prepared transaction"
        name = f"the session {self.blocker} of user {self.user}"
        return f"{name} ({self.state} since {self.since:%H:%M} UTC)" if self.since else name


class Sessions(ABC):
    """The sessions that this process has in a destination. Used by one thread."""

    @abstractmethod
    def waits(self) -> list[Wait]:
        """Returns which of them wait for a session of somebody else."""

    @abstractmethod
    def cancel(self, sessions: Collection[int]) -> None:
        """Cancels what some of them do; the destination undoes it."""

    @abstractmethod
    def cancel_all(self) -> None:
        """Cancels what waits for a lock or has run for more than a second."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connection that asks for all this."""
