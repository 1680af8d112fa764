"""The deltas of one collection (page `reference/delta/`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from protime_source.demo.behaviour import Behaviour, Clock
from protime_source.demo.messages import HttpError, encode_json, pack_token, unpack_token
from protime_source.demo.store import Event, Match, Record, Store

_LIFETIME = timedelta(hours=72)
_FIRST_DELTA = 30_080
_REPEATED = 3

Present = Callable[[Record, str, Behaviour], Record]
"""Returns a record as a response contains it: with external references, without hidden fields."""

Change = tuple[str, Record]
"""The changeType and the data of an event."""


@dataclass
class Delta:
    """A delta that a consumer has started.

    Attributes:
        id: The number in each of its tokens.
        inside: Returns whether a record is in the window that the delta was started with.
        start: The cursor at its first page.
        last_request: Time of the last request, UTC.
        used: Tokens of the deltaLinks that were followed.
        references: The external references that the delta was started with.
    """

    id: int
    inside: Match
    start: int
    last_request: datetime
    used: set[str] = field(default_factory=set)
    references: str = ""


class Deltas:
    """The active deltas of a collection, and the changes for each."""

    def __init__(self, store: Store, clock: Clock, present: Present) -> None:
        self._store, self._clock, self._present = store, clock, present
        self._active: dict[int, Delta] = {}
        self._next_id = _FIRST_DELTA
        self._stamp = datetime.min.replace(tzinfo=UTC)
        self._last_changes: tuple[tuple[int, int, int, Behaviour], list[bytes]] | None = None

    def start(self, inside: Match, behaviour: Behaviour, references: str = "") -> Delta:
        """Start a delta, which by default ends the older one."""
        if behaviour.older_delta_dies:
            self._active.clear()
        cursor, now = self._store.cursor, self._clock.now()
        delta = Delta(self._next_id, inside, cursor, now, references=references)
        self._active[delta.id] = delta
        self._next_id += 1
        return delta

    def token(self, delta: Delta, cursor: int) -> str:
        """A new, unique deltaToken."""
        self._stamp = max(self._clock.now(), self._stamp + timedelta(microseconds=1))
        stamp = f"{self._stamp:%Y-%m-%dT%H:%M:%S.%f}0Z"
        return pack_token({"DeltaId": delta.id, "StartingCursor": cursor, "TimeStamp": stamp})

    def resolve(self, token: str) -> tuple[Delta, int]:
        """The delta and the cursor of a deltaToken; extends the life of the delta.

        Raises:
            HttpError: 400 for a malformed token, 410 when the delta has ended or was not requested
                for 72 hours.
        """
        try:
            content = unpack_token(token)
            id_, cursor = int(content["DeltaId"]), int(content["StartingCursor"])
        except (ValueError, KeyError, TypeError):
            raise HttpError(400, "The delta token is malformed.") from None
        return self._active_delta(id_), cursor

    def follow(self, delta: Delta, token: str, behaviour: Behaviour) -> None:
        """Note that a deltaLink is followed.

        Raises:
            HttpError: 410 when a link works only once and this one was followed before.
        """
        if token in delta.used and not behaviour.links_rereadable:
            raise _gone()
        delta.used.add(token)

    def changes(self, delta: Delta, cursor: int, until: int, behaviour: Behaviour) -> list[bytes]:
        """The changes for this delta between two cursors, as JSON items."""
        # Cached for the next page of the response: each page must not cost O(changes).
        key = (delta.id, cursor, until, behaviour)
        if self._last_changes is None or self._last_changes[0] != key:
            self._last_changes = (key, self._changes(delta, cursor, until, behaviour))
        return self._last_changes[1]

    def _active_delta(self, id_: int) -> Delta:
        delta, now = self._active.get(id_), self._clock.now()
        if delta is None or now - delta.last_request > _LIFETIME:
            self._active.pop(id_, None)
            raise _gone()
        delta.last_request = now
        return delta

    def _changes(self, delta: Delta, cursor: int, until: int, behaviour: Behaviour) -> list[bytes]:
        changes = [
            change
            for event in self._store.events(cursor, until)
            if (change := _change(event, delta.inside, behaviour)) is not None
        ]
        if behaviour.events == "compacted":
            changes = _last_of_each(changes)
        if behaviour.repeat_events:
            changes = [*self._earlier(delta, cursor, behaviour), *changes, *changes[::_REPEATED]]
        return [
            encode_json(
                {"changeType": kind, "data": self._present(data, delta.references, behaviour)}
            )
            for kind, data in _sort(changes, behaviour)
        ]

    def _earlier(self, delta: Delta, cursor: int, behaviour: Behaviour) -> list[Change]:
        events = self._store.events(max(delta.start, cursor - _REPEATED), cursor)
        changes = (_change(event, delta.inside, behaviour) for event in events)
        return [change for change in changes if change is not None]


def _gone() -> HttpError:
    return HttpError(410, "The delta token is expired.")


def _change(event: Event, inside: Match, behaviour: Behaviour) -> Change | None:
    """The change for a delta with this window; None when the event does not concern it."""
    if event.after is not None and inside(event.after):
        return "InsertOrUpdate", event.after
    if event.before is None or not inside(event.before):
        return None
    if event.after is None or behaviour.leaving_window == "delete":
        return "Delete", _tombstone(event, event.before, behaviour)
    return ("InsertOrUpdate", event.after) if behaviour.leaving_window == "update" else None


def _tombstone(event: Event, before: Record, behaviour: Behaviour) -> Record:
    version = event.version if behaviour.delete_version == "new" else before["changeVersion"]
    key = {"changeVersion": version, "id": event.id}
    return {**before, **key} if behaviour.delete_payload else key


def _last_of_each(changes: list[Change]) -> list[Change]:
    last: dict[int, Change] = {}
    for change in changes:
        last.pop(change[1]["id"], None)
        last[change[1]["id"]] = change
    return list(last.values())


def _sort(changes: list[Change], behaviour: Behaviour) -> list[Change]:
    if behaviour.order == "shuffled":
        return Random(len(changes)).sample(changes, len(changes))
    ordered = sorted(changes, key=lambda change: str(change[1]["changeVersion"]))
    return ordered if behaviour.order == "oldest_first" else ordered[::-1]
