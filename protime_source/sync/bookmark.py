"""The bookmark: all that is remembered of a collection between runs, a few hundred bytes."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import msgspec

from protime_source.api.pages import LIFETIME

_KEY = "bookmark"

_SCOPE_IN_WORDS = (
    "destination",
    "start_date",
    "set of sensitive columns or external references",
)
"""The fields of a scope as a person knows them."""


@dataclass(frozen=True)
class BookmarkScope:
    """The warehouse and settings a bookmark is valid for.

    Attributes:
        warehouse: Fingerprint of destination and dataset.
        start_date: First day of the delta's window, ISO; empty when the collection has no window.
        column_selection: The sensitive columns and external references that were asked for.
    """

    warehouse: str
    start_date: str
    column_selection: str


@dataclass(frozen=True)
class Bookmark:
    """Where the next run continues.

    Attributes:
        scope: The warehouse and settings it is valid for.
        link: `nextLink` while a full load is in progress, else `deltaLink`; empty when the full
            load must not be resumed.
        full_load_in_progress: Whether pages of a full load are still to come.
        full_load_started_at: When it began (UTC, ISO): later than any row synced before it.
        live_rows_at_start: Live rows that it could find vanished when it began.
        compares_values: Whether it compares the values of rows whose version is as stored.
        shows_undated: Whether it has shown a row without a readable date.
        seen_ids: Where the warehouse keeps the ids that it has shown so far.
        last_synced_at: The newest `synced_at` that was given (UTC, ISO): later ones are greater.
        has_rows: Whether the table has had rows.
        live_rows: Live rows of the table, kept up by the changes; `None` after a full load, until
            they are counted.
        link_requested_at: When the link was requested (UTC, ISO); a delta expires 72 hours later.
    """

    scope: BookmarkScope
    link: str
    full_load_in_progress: bool
    full_load_started_at: str
    live_rows_at_start: int
    link_requested_at: str
    compares_values: bool = False
    shows_undated: bool = False
    seen_ids: str = ""
    last_synced_at: str = ""
    has_rows: bool = False
    live_rows: int | None = None

    @classmethod
    def read(cls, state: MutableMapping[str, Any]) -> Bookmark | None:
        """Reads the bookmark from a resource's state.

        Returns:
            The bookmark; `None` when the state has none, or one that cannot be used, as another
            version may write.
        """
        try:
            stored = state[_KEY]
            found = cls(**{**stored, "scope": BookmarkScope(**stored["scope"])})
            msgspec.convert(stored, cls)
            _ = found.window_start, found.expires
            return found if found._has_time_zones else None
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def write(self, state: MutableMapping[str, Any]) -> None:
        """Puts the bookmark into the state, which dlt commits in the same package as the rows."""
        state[_KEY] = {**vars(self), "scope": dict(vars(self.scope))}

    def synced(self, latest: datetime | None) -> Bookmark:
        """Returns the bookmark with the newest `synced_at` that was given (UTC)."""
        return replace(self, last_synced_at=latest.isoformat()) if latest else self

    def advanced(
        self, link: str, *, full_load_in_progress: bool, requested_at: datetime
    ) -> Bookmark:
        """Returns the bookmark at a later link.

        Args:
            link: The link to follow next.
            full_load_in_progress: Whether it leads to more pages of a full load, or to changes.
            requested_at: When it was requested (UTC).
        """
        return replace(
            self,
            link=link,
            full_load_in_progress=full_load_in_progress,
            link_requested_at=requested_at.isoformat(),
        )

    def invalidated(self) -> Bookmark:
        """Returns the bookmark of a full load that must not be resumed."""
        return replace(self, link="")

    def scope_changes(self, scope: BookmarkScope, *, start_is_default: bool) -> tuple[str, ...]:
        """Returns what differs between this bookmark's scope and the present one, in words.

        A delta's window does not slide: after New Year the default start is a year later, and the
        older window includes all of the newer one, so the bookmark stays valid.

        Args:
            scope: The present scope.
            start_is_default: Whether `start_date` is left to its default.
        """
        if start_is_default and self.scope.start_date <= scope.start_date:
            scope = replace(scope, start_date=self.scope.start_date)
        pairs = zip(_SCOPE_IN_WORDS, vars(self.scope).values(), vars(scope).values(), strict=True)
        return tuple(words for words, stored, present in pairs if stored != present)

    @property
    def is_invalidated(self) -> bool:
        """Whether the full load must not be resumed."""
        return not self.link

    @property
    def window_start(self) -> date | None:
        """First day of the window, if the collection has one."""
        start = self.scope.start_date
        return date.fromisoformat(start) if start else None

    @property
    def full_load_start(self) -> datetime:
        """When the full load began (UTC)."""
        return datetime.fromisoformat(self.full_load_started_at)

    @property
    def last_synced(self) -> datetime | None:
        """The newest `synced_at` that was given (UTC)."""
        return datetime.fromisoformat(self.last_synced_at) if self.last_synced_at else None

    @property
    def link_requested(self) -> datetime:
        """When the link was requested (UTC)."""
        return datetime.fromisoformat(self.link_requested_at)

    @property
    def _has_time_zones(self) -> bool:
        moments = (self.full_load_start, self.link_requested, self.last_synced)
        return all(moment is None or moment.tzinfo for moment in moments)

    @property
    def expires(self) -> datetime:
        """When the delta expires unless its link is used (UTC)."""
        return self.link_requested + LIFETIME
