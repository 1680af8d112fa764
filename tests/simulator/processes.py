"""Processes that stand still, go on and die between any two of their effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import greenlet

MOMENT = timedelta(milliseconds=1)
"""What each effect takes."""


class Killed(BaseException):  # no error that anything may handle
    """The process ends here."""


class Process:
    """One run of a host, in a greenlet of its own.

    Args:
        world: The world that its effects pass through.
        main: What it does.

    Attributes:
        at: The effect that it stands before.
        error: What it failed with.
        is_over: Whether it has ended, in whatever way.
        was_killed: Whether it was killed.
    """

    def __init__(self, world: Effects, main: Callable[[], None]) -> None:
        self._world = world
        self._main = main
        self._parent = greenlet.getcurrent()
        self._greenlet = greenlet.greenlet(self._run, self._parent)
        self._left: int | None = None
        self._counted = ""
        self.at = ""
        self.error: BaseException | None = None
        self.is_over = False
        self.was_killed = False

    def go_on(self, effects: int | None, counted: str = "") -> None:
        """Goes on for some effects, of one name if that is given, or to its end."""
        self._left, self._counted = effects, counted
        self._world.current, before = self, self._world.current
        try:
            self._greenlet.switch()
        finally:
            self._world.current = before

    def kill(self) -> None:
        """Ends it where it stands; what the system does for a dead process is done."""
        self._world.current, before = self, self._world.current
        try:
            self._greenlet.throw(Killed)
        finally:
            self._world.current = before

    def before(self, effect: str) -> None:
        """Stands still if it is to."""
        self.at = effect
        if self.was_killed:
            raise Killed
        while self._left == 0 and self._counted in ("", effect):
            self._parent.switch()
        if self._left and self._counted in ("", effect):
            self._left -= 1

    def _run(self) -> None:
        try:
            self._main()
        except Killed:
            self.was_killed = True
        except BaseException as error:
            self.error = error
        finally:
            self.is_over = True


@dataclass
class Effects:
    """The time, and the process that is at work.

    Attributes:
        time: The true time (UTC).
        current: The process that is at work.
    """

    time: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    current: Process | None = None

    def effect(self, name: str) -> None:
        """Every read, write and commit passes here first."""
        self.time += MOMENT
        if self.current is not None:
            self.current.before(name)
