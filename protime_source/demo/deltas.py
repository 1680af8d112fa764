"""The deltas of one collection (page `reference/delta/`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from protime_source.demo import opaque
from protime_source.demo.behaviour import Behaviour
from protime_source.demo.clock import Clock
from protime_source.demo.messages import ApiError, encode
from protime_source.demo.store import Event, Match, Record, Store

_LIFETIME = timedelta(hours=72)
_FIRST_DELTA = 30_080
_REPEATED = 3


Show = Callable[[Record, str, Behaviour], Record]
"""How a record is shown: with external references, and as the tenant behaves."""


@dataclass
class Delta:
    """A consumer's place in the changes.

    Attributes:
        id: Its number, in every token.
        inside: Whether a record is in the window it was started with.
        start: The cursor at its first page.
        last_request: When it was last asked, UTC.
        used: Tokens of the deltaLinks that were followed.
        references: The external references it was started with.
    """

    id: int
    inside: Match
    start: int
    last_request: datetime
    used: set[str] = field(default_factory=set)
    references: str = ""


class Deltas:
    """The deltas that are alive, and what has changed for each."""

    def __init__(self, store: Store, clock: Clock, show: Show) -> None:
        self._store, self._clock, self._show = store, clock, show
        self._alive: dict[int, Delta] = {}
        self._next_id = _FIRST_DELTA
        self._stamp = datetime.min.replace(tzinfo=UTC)
        self._answer: tuple[tuple[int, int, int, Behaviour], list[bytes]] | None = None

    def start(self, inside: Match, how: Behaviour, references: str = "") -> Delta:
        """Start a delta; by default the older one is dead from now."""
        if how.older_delta_dies:
            self._alive.clear()
        cursor, now = self._store.cursor, self._clock.now()
        delta = Delta(self._next_id, inside, cursor, now, references=references)
        self._alive[delta.id] = delta
        self._next_id += 1
        return delta

    def token(self, delta: Delta, cursor: int) -> str:
        """A fresh deltaToken, never the same twice."""
        self._stamp = max(self._clock.now(), self._stamp + timedelta(microseconds=1))
        stamp = f"{self._stamp:%Y-%m-%dT%H:%M:%S.%f}0Z"
        return opaque.pack({"DeltaId": delta.id, "StartingCursor": cursor, "TimeStamp": stamp})

    def open(self, token: str) -> tuple[Delta, int]:
        """The delta and the cursor that a deltaToken stands for; keeps the delta alive.

        Raises:
            ApiError: 400 for what is no token, 410 when the delta is dead or was not asked for
                72 hours.
        """
        try:
            content = opaque.unpack(token)
            id_, cursor = int(content["DeltaId"]), int(content["StartingCursor"])
        except (ValueError, KeyError, TypeError):
            raise ApiError(400, "The delta token is malformed.") from None
        return self._living(id_), cursor

    def use(self, delta: Delta, token: str, how: Behaviour) -> None:
        """Follow a deltaLink.

        Raises:
            ApiError: 410 when links work once only and this one was followed before.
        """
        if token in delta.used and not how.links_rereadable:
            raise _gone()
        delta.used.add(token)

    def changes(self, delta: Delta, cursor: int, until: int, how: Behaviour) -> list[bytes]:
        """What changed for this delta between two cursors, as JSON items."""
        # Kept for the next page of the same answer: pages must not cost O(changes) each.
        key = (delta.id, cursor, until, how)
        if self._answer is None or self._answer[0] != key:
            self._answer = (key, self._changes(delta, cursor, until, how))
        return self._answer[1]

    def _living(self, id_: int) -> Delta:
        delta, now = self._alive.get(id_), self._clock.now()
        if delta is None or now - delta.last_request > _LIFETIME:
            self._alive.pop(id_, None)
            raise _gone()
        delta.last_request = now
        return delta

    def _changes(self, delta: Delta, cursor: int, until: int, how: Behaviour) -> list[bytes]:
        changes = [
            change
            for event in self._store.events(cursor, until)
            if (change := _change(event, delta.inside, how)) is not None
        ]
        if how.events == "compacted":
            changes = _last_of_each(changes)
        if how.repeat_events:
            changes = [*self._earlier(delta, cursor, how), *changes, *changes[::_REPEATED]]
        return [
            encode({"changeType": kind, "data": self._show(data, delta.references, how)})
            for kind, data in _sort(changes, how)
        ]

    def _earlier(self, delta: Delta, cursor: int, how: Behaviour) -> list[Change]:
        events = self._store.events(max(delta.start, cursor - _REPEATED), cursor)
        changes = (_change(event, delta.inside, how) for event in events)
        return [change for change in changes if change is not None]


Change = tuple[str, Record]


def _gone() -> ApiError:
    return ApiError(410, "The delta token is expired.")


def _change(event: Event, inside: Match, how: Behaviour) -> Change | None:
    """The event as this window sees it; None when it is no concern of it."""
    if event.after is not None and inside(event.after):
        return "InsertOrUpdate", event.after
    if event.before is None or not inside(event.before):
        return None
    if event.after is None or how.leaving_window == "delete":
        return "Delete", _tombstone(event, event.before, how)
    return ("InsertOrUpdate", event.after) if how.leaving_window == "update" else None


def _tombstone(event: Event, before: Record, how: Behaviour) -> Record:
    version = event.version if how.delete_version == "new" else before["changeVersion"]
    key = {"changeVersion": version, "id": event.id}
    return {**before, **key} if how.delete_payload else key


def _last_of_each(changes: list[Change]) -> list[Change]:
    last: dict[int, Change] = {}
    for change in changes:
        last.pop(change[1]["id"], None)
        last[change[1]["id"]] = change
    return list(last.values())


def _sort(changes: list[Change], how: Behaviour) -> list[Change]:
    if how.order == "shuffled":
        return Random(len(changes)).sample(changes, len(changes))
    ordered = sorted(changes, key=lambda change: str(change[1]["changeVersion"]))
    return ordered if how.order == "oldest_first" else ordered[::-1]
