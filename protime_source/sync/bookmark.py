"""The bookmark: all that is remembered between runs, a few hundred bytes."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import asdict, astuple, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import pendulum

from protime_source.api.pages import LIFETIME

_KEY = "bookmark"

_ORIGIN = (
    "tenant or API address",
    "destination",
    "start_date",
    "set of sensitive columns or external references",
)
"""What the fields of an origin mean to a person."""


@dataclass(frozen=True)
class Origin:
    """What a bookmark is worth something for.

    Attributes:
        tenant: API address and tenant name.
        warehouse: Fingerprint of destination and dataset.
        start_date: First day of the delta's window, ISO; empty when it has none.
        shape: The sensitive columns and external references that were asked for.
    """

    tenant: str
    warehouse: str
    start_date: str
    shape: str = ""


@dataclass(frozen=True)
class Bookmark:
    """Where the next run goes on.

    Attributes:
        origin: Tenant, warehouse and window that it belongs to.
        link: `nextLink` while a walk is unfinished, else `deltaLink`; empty when the walk must not
            be gone on with.
        walking: Whether a walk is unfinished.
        walk_started_at: When the walk began (UTC, ISO): later than any row received before it.
        live_before: Live rows in the window when the walk began.
        contact_at: When the link was asked for (UTC, ISO); a delta dies 72 hours later.
        foreign_before: Rows received before (UTC, ISO) are another tenant's, if there are any.
        is_marking: Whether all pages of the walk are loaded, but not all that vanished is marked.
    """

    origin: Origin
    link: str
    walking: bool
    walk_started_at: str
    live_before: int
    contact_at: str
    foreign_before: str = ""
    is_marking: bool = False

    @classmethod
    def read(cls, state: MutableMapping[str, Any]) -> Bookmark | None:
        """Reads the bookmark from a resource's state.

        Returns:
            The bookmark; `None` when there is none, or one that another version has written.
        """
        try:
            stored = state[_KEY]
            return cls(**{**stored, "origin": Origin(**stored["origin"])})
        except (KeyError, TypeError):
            return None

    def write(self, state: MutableMapping[str, Any]) -> None:
        """Puts the bookmark into the state, which dlt commits in the same package as the rows."""
        state[_KEY] = asdict(self)

    def moved(self, link: str, *, walking: bool, contact: datetime) -> Bookmark:
        """The bookmark at a later link.

        Args:
            link: The link to follow next.
            walking: Whether it leads on in a walk, or to changes.
            contact: When it was asked for (UTC).
        """
        return replace(self, link=link, walking=walking, contact_at=contact.isoformat())

    def void(self) -> Bookmark:
        """The bookmark of a walk that must not be gone on with."""
        return replace(self, link="")

    def marked(self, *, is_all: bool) -> Bookmark:
        """The bookmark when rows that vanished are marked: the walk is over when it is all."""
        return replace(self, walking=not is_all, is_marking=not is_all)

    def differs(self, origin: Origin, *, start_is_default: bool) -> tuple[str, ...]:
        """What keeps this bookmark from continuing what is asked for now, in words.

        A delta's window does not slide: after New Year the default start is a year later, and
        the older window holds all of the newer one, so it goes on.

        Args:
            origin: What is asked for now.
            start_is_default: Whether `start_date` is left to its default.
        """
        if start_is_default and self.origin.start_date <= origin.start_date:
            origin = replace(origin, start_date=self.origin.start_date)
        mine, asked = astuple(self.origin), astuple(origin)
        pairs = zip(_ORIGIN, mine, asked, strict=True)
        return tuple(words for words, own, other in pairs if own != other)

    @property
    def is_void(self) -> bool:
        """Whether the walk must not be gone on with."""
        return not self.link

    @property
    def start(self) -> date | None:
        """First day of the window, if it has one."""
        start = self.origin.start_date
        return date.fromisoformat(start) if start else None

    @property
    def walk_start(self) -> datetime:
        """When the walk began (UTC)."""
        return datetime.fromisoformat(self.walk_started_at)

    @property
    def foreign_until(self) -> datetime | None:
        """When the first row of this tenant came (UTC), where another's were there before."""
        return datetime.fromisoformat(self.foreign_before) if self.foreign_before else None

    @property
    def contact(self) -> datetime:
        """When the link was asked for (UTC)."""
        return datetime.fromisoformat(self.contact_at)

    @property
    def expires(self) -> datetime:
        """When the delta dies unless its link is used (UTC)."""
        return self.contact + LIFETIME


class Ticker:
    """Tells times that only grow, also when the machine's clock is set back or was ahead."""

    def __init__(self) -> None:
        self._last: datetime | None = None

    def after(self, *moments: datetime | None) -> datetime:
        """The current time (UTC), but later than the moments and any time told before."""
        floors = [moment for moment in (*moments, self._last) if moment is not None]
        step = timedelta(microseconds=1)
        self._last = max([pendulum.now("UTC"), *(floor + step for floor in floors)])
        return self._last
