"""The records of one collection and the log of their changes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from protime_source.demo.messages import encode_json

Record = dict[str, Any]
Match = Callable[[Record], bool]

_FIRST_ID = 100_001
_FIRST_VERSION = 0x0902 << 48
_VERSION_STEP = 0x1A


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one record; without `before` a creation, without `after` a deletion."""

    id: int
    version: str
    before: Record | None
    after: Record | None


class Store:
    """Records by id, each with the changeVersion of its last change.

    A version is 20 upper-case hex characters, compared as text; it grows with every change (page
    `reference/delta/`). A record is replaced, never modified, because the log keeps it.

    Attributes:
        records: The records by id.
        on_event: Called with each change.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        loaded = list(rows)
        # Versions are shuffled because in real data the order of ids is not the order of changes.
        ages = list(range(1, len(loaded) + 1))
        Random(len(ages)).shuffle(ages)
        ids = range(_FIRST_ID, _FIRST_ID + len(ages))
        self.records: dict[Any, Record] = {
            row.get("id", id_): {"changeVersion": _version(age), "id": id_, **row}
            for id_, age, row in zip(ids, ages, loaded, strict=True)
        }
        self._ids: list[Any] = list(self.records)
        self._texts: dict[Any, bytes] = {}
        self._log: list[Event] = []
        self.on_event: Callable[[Event], None] = _ignore
        self._loaded = len(ages)
        self._next_id = _FIRST_ID + len(ages)

    @property
    def cursor(self) -> int:
        """The position in the log after the newest event."""
        return self._loaded + len(self._log)

    def events(self, cursor: int, until: int) -> list[Event]:
        """The events between two cursors, oldest first."""
        return self._log[max(cursor - self._loaded, 0) : max(until - self._loaded, 0)]

    def insert(self, fields: Mapping[str, Any]) -> int:
        """Add a record and return its id."""
        id_, self._next_id = self._next_id, self._next_id + 1
        self._ids.append(id_)
        self._write(id_, fields)
        return id_

    def replace(self, id_: int, fields: Mapping[str, Any]) -> None:
        """Replace the fields of a record.

        Raises:
            KeyError: The record does not exist.
        """
        self._write(id_, fields, self.records[id_])

    def restore(self, id_: int, fields: Mapping[str, Any]) -> None:
        """Create a record with the id of a deleted one.

        Raises:
            KeyError: The record exists.
        """
        if id_ in self.records:
            raise KeyError(id_)
        index = bisect_left(self._ids, id_)
        if self._ids[index : index + 1] != [id_]:
            self._ids.insert(index, id_)
        self._write(id_, fields)

    def remove(self, id_: int) -> None:
        """Delete a record.

        Raises:
            KeyError: The record does not exist.
        """
        before = self.records.pop(id_)
        self._texts.pop(id_, None)
        self._note(Event(id_, _version(self.cursor + 1), before, None))
        if len(self._ids) > 2 * len(self.records) + 1000:
            self._ids = list(self.records)

    def pick(self, random: Random) -> Any:
        """The id of a random record; the store must not be empty."""
        while (id_ := random.choice(self._ids)) not in self.records:
            pass
        return id_

    def json(self, id_: int) -> bytes:
        """A record as JSON, cached until the record changes."""
        text = self._texts.get(id_)
        if text is None:
            text = self._texts[id_] = encode_json(self.records[id_])
        return text

    def after(self, id_: int, count: int, match: Match) -> list[int]:
        """The next `count` ids above `id_` whose records match, in id order."""
        first = bisect_right(self._ids, id_) if id_ else 0
        return self._scan(range(first, len(self._ids)), count, match)

    def up_to(self, id_: int, count: int, match: Match) -> list[int]:
        """The last `count` ids up to and including `id_` whose records match, in id order."""
        return self._scan(range(bisect_right(self._ids, id_) - 1, -1, -1), count, match)[::-1]

    def _scan(self, indexes: range, count: int, match: Match) -> list[int]:
        found: list[int] = []
        ids, records = self._ids, self.records
        for index in indexes:
            if len(found) >= count:
                break
            record = records.get(ids[index])
            if record is not None and match(record):
                found.append(ids[index])
        return found

    def _write(self, id_: int, fields: Mapping[str, Any], before: Record | None = None) -> None:
        version = _version(self.cursor + 1)
        record = {**fields, "changeVersion": version, "id": id_}
        self.records[id_] = record
        self._texts.pop(id_, None)
        self._note(Event(id_, version, before, record))

    def _note(self, event: Event) -> None:
        self._log.append(event)
        self.on_event(event)


def _ignore(_: Event) -> None:
    """Do nothing."""


def _version(number: int) -> str:
    return f"{_FIRST_VERSION + number * _VERSION_STEP:020X}"
