"""Protime in memory: a collection, its events, deltas, and what its documentation leaves open."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeVar

from protime_source.api.pages import LIFETIME, Page, iter_pages
from protime_source.catalogue.fields import KEYS
from protime_source.catalogue.model import Collection, column
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    ResponseError,
    TooLargeError,
    UnavailableError,
)
from protime_source.settings import earliest_start
from tests.simulator.processes import Effects

COLUMNS = (
    *KEYS,
    column("from", "date", "First day.", name="from_date"),
    column("label", "text", "A value."),
)
COLLECTIONS = {
    "delta": Collection(name="shifts", columns=COLUMNS, date_column="from_date"),
    "snapshot": Collection(name="shifts", columns=COLUMNS, has_delta=False),
}
DECODERS = {name: RecordDecoder(each, str) for name, each in COLLECTIONS.items()}
START = earliest_start()
"""First day of the window."""

FIRST_DAY = str(START)
"""The same, as records have it."""

DAYS = {day: str(START + timedelta(days=day)) for day in range(-10, 11)}
"""Days about the window's first, by their distance from it."""

HIDDEN_UP_TO = 11
"""The highest id of the records that Protime hides when it hides some."""

STATUSES: dict[int, type[ResponseError]] = {
    400: BadRequestError,
    404: NotFoundError,
    409: ExpiredError,
    410: ExpiredError,
}

Record = dict[str, Any]
T = TypeVar("T")
FaultKind = Literal["unavailable", "garbled", "too large", "unknown change", "forbidden"]


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The switches of a Protime; each is a question that the documentation does not answer.

    Attributes:
        kind: A collection with a delta, or one that is read whole.
        page_size: Records on a page of a full load.
        links_rereadable: Whether a `deltaLink` that was followed works again.
        pages_rereadable: Whether a `nextLink` that was followed works again.
        older_delta_dies: Whether a new delta ends the older ones.
        compacted: Whether an answer has only the last event of each record.
        shuffled: Whether the events of an answer come in any order.
        repeats: Whether an answer repeats some events of earlier ones.
        delete_payload: Whether a delete carries the whole record.
        same_version: Whether a delete has the version of the record it ends.
        leaving: What announces that a record leaves the window.
        page_overlap: Whether a page of a full load repeats a record of the page before: as it is,
            or as it was before its last change.
        empty_pages: Whether an empty page comes before the last.
        delta_page_size: Events on a page of a delta answer; 0 for one page.
        lags: Whether a full load shows the newest change late, and the delta then repeats it.
        gone: The status of a link that does not work any more.
    """

    kind: Literal["delta", "snapshot"] = "delta"
    page_size: int = 4
    links_rereadable: bool = True
    pages_rereadable: bool = True
    older_delta_dies: bool = False
    compacted: bool = False
    shuffled: bool = False
    repeats: bool = False
    delete_payload: bool = False
    same_version: bool = False
    leaving: Literal["delete", "silent", "update"] = "delete"
    page_overlap: Literal["", "as it is", "as it was"] = ""
    empty_pages: bool = False
    delta_page_size: int = 0
    lags: bool = False
    gone: Literal[400, 404, 409, 410] = 410


class Event(NamedTuple):
    """A change of a record; `None` before it was created, and after it was deleted."""

    id: int
    version: str
    before: Record | None
    after: Record | None


@dataclass
class Delta:
    """A delta that somebody has started."""

    start: int
    used_at: datetime
    followed: set[str] = field(default_factory=set)


@dataclass
class Fault:
    """What becomes of a request, after some others."""

    after: int
    kind: FaultKind


def is_inside(record: Record | None) -> bool:
    """Whether a record is in the window."""
    return record is not None and record["from"] >= FIRST_DAY


@dataclass
class Protime:
    """One collection of a tenant."""

    effects: Effects
    behaviour: Behaviour
    records: dict[int, Record] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    deltas: dict[int, Delta] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    hidden: bool = False
    is_stored: Callable[[int], bool] = field(default=lambda _: True, repr=False)
    requests: int = 0
    started: int = 0

    def write(self, id_: int, day: int) -> None:
        """Creates, changes, moves or brings back a record."""
        version = f"{len(self.events) + 1:020X}"
        record = {
            "id": id_,
            "changeVersion": version,
            "from": DAYS[day],
            "label": version[-3:],
        }
        self.events.append(Event(id_, version, self.records.get(id_), record))
        self.records[id_] = record

    def delete(self, id_: int) -> None:
        """Deletes a record, if there is one."""
        if before := self.records.pop(id_, None):
            self.events.append(Event(id_, f"{len(self.events) + 1:020X}", before, None))

    def end_deltas(self) -> None:
        """Another consumer starts a delta, and all others end, however this Protime does that."""
        self.deltas.clear()

    def cursor(self, link: str) -> tuple[int, bool] | None:
        """Where a link stands in the events, and whether its delta lives; `None` for a start."""
        if ":" not in link:
            return None
        _kind, delta, cursor, *_ = link.split(":")
        return int(cursor), self._delta(int(delta)) is not None

    def iter_pages(self, link: str) -> Iterator[Page]:
        """Answers the requests from a link on."""
        return iter_pages(self, COLLECTIONS[self.behaviour.kind], link)

    def get(self, link: str, decode: Callable[[bytes], T]) -> T:
        """Answers a request."""
        self.effects.effect("request")
        body = json.dumps(self._answer(link)).encode()
        self.effects.effect("response")
        return decode(body)

    def check_link(self, link: str) -> None:
        """Takes any."""

    def _answer(self, link: str) -> Record:
        self.requests += 1
        kind_of_fault = self._fault()
        if self.behaviour.kind == "snapshot":
            last_id = int(link.split(":")[3]) if ":" in link else 0
            return self._page(0, 0, last_id)
        if ":" not in link:  # the start of a delta
            if self.behaviour.older_delta_dies:
                self.deltas.clear()
            self.started += 1
            self.deltas[self.started] = Delta(len(self.events), self.effects.time)
            return self._page(self.started, len(self.events), 0)
        kind, *numbers = link.split(":")
        number, cursor, after, until, _ = map(int, numbers)
        delta = self._delta(number)
        is_page = kind == "page"
        rereadable = self.behaviour.pages_rereadable if is_page else self.behaviour.links_rereadable
        if delta is None or (link in delta.followed and not rereadable):
            status = self.behaviour.gone
            raise STATUSES[status]("the link has expired", status=status)
        delta.followed.add(link)
        delta.used_at = self.effects.time
        if is_page:
            return self._page(number, cursor, after)
        if kind_of_fault == "too large":
            raise TooLargeError("too large")
        answer = self._changes(number, cursor, after, until or len(self.events))
        if kind_of_fault == "unknown change":
            renamed = {"id": 1, "changeVersion": "F" * 20}
            answer["value"].append({"changeType": "Rename", "data": renamed})
        return answer

    def _delta(self, number: int) -> Delta | None:
        delta = self.deltas.get(number)
        if delta is not None and self.effects.time - delta.used_at > LIFETIME:
            del self.deltas[number]
            return None
        return delta

    def _fault(self) -> FaultKind | None:
        for fault in self.faults:
            fault.after -= 1
        due = [fault for fault in self.faults if fault.after < 0]
        if not due:
            return None
        self.faults.remove(due[0])
        match due[0].kind:
            case "unavailable":
                raise UnavailableError("no answer")
            case "garbled":
                raise ProtocolError("no JSON")
            case "forbidden":
                raise ForbiddenError("forbidden", status=403)
        return due[0].kind

    def shown(self) -> dict[int, Record]:
        """The records of the window, as a full load shows them now."""
        shown = {i: r for i, r in self.records.items() if is_inside(r)}
        if self.hidden:
            return {i: r for i, r in shown.items() if i > HIDDEN_UP_TO}
        if self.behaviour.lags and self.events and self.behaviour.kind == "delta":
            newest = self.events[-1]
            if newest.id in shown and is_inside(newest.before) and newest.before:
                shown[newest.id] = newest.before
        return shown

    def _page(self, delta: int, cursor: int, last_id: int) -> Record:
        """A page of live records in the order of ids."""
        shown = self.shown()
        size = self.behaviour.page_size
        following = [id_ for id_ in sorted(shown) if id_ > last_id]
        ids = following[:size]
        rows = [shown[id_] for id_ in ids]
        if self.behaviour.page_overlap and last_id in shown:
            rows.append(self._repeated(shown[last_id]))
        is_last = len(following) <= size
        if is_last and ids and self.behaviour.empty_pages:
            is_last = False  # an empty page follows
        if not is_last:
            return {"value": rows, "nextLink": self._link("page", delta, cursor, ids[-1])}
        if self.behaviour.kind == "snapshot":
            return {"value": rows}
        return {"value": rows, "deltaLink": self._link("delta", delta, cursor)}

    def _repeated(self, record: Record) -> Record:
        """A record that the page before had too."""
        if self.behaviour.page_overlap == "as it was":
            last = next(e for e in reversed(self.events) if e.id == record["id"])
            if last.after == record and last.before and is_inside(last.before):
                return last.before
        return record

    def _changes(self, delta: int, cursor: int, after: int, until: int) -> Record:
        """The events since a cursor; `after` of them came on the pages before."""
        since = max(0, cursor - 2) if self.behaviour.lags else cursor
        events = [*self._earlier(delta, cursor), *self.events[since:until]]
        changes = [c for event in events if (c := self._change(event))]
        if self.behaviour.compacted:
            changes = list({change["data"]["id"]: change for change in changes}.values())
        if self.behaviour.shuffled:
            random.Random(until).shuffle(changes)
        size = self.behaviour.delta_page_size
        if size and len(changes) > after + size:
            link = self._link("delta", delta, cursor, after + size, until)
            return {"value": changes[after : after + size], "nextLink": link}
        return {"value": changes[after:], "deltaLink": self._link("delta", delta, until)}

    def _earlier(self, delta: int, cursor: int) -> list[Event]:
        """Events of earlier answers that come once more, each by itself.

        Not those of a record that was never stored because it was deleted before the next run:
        without its deletion, which need not be among them, it would be a new one.
        """
        if not self.behaviour.repeats or self.behaviour.lags:
            return []
        earlier = self.events[max(self.deltas[delta].start, cursor - 4) : cursor]
        dice = random.Random(cursor)
        return [each for each in earlier if dice.random() < 0.5 and self.is_stored(each.id)]

    def _change(self, event: Event) -> Record | None:
        """The event as a delta of the window shows it."""
        if event.after is not None and is_inside(event.after):
            return {"changeType": "InsertOrUpdate", "data": event.after}
        if not is_inside(event.before) or event.before is None:
            return None
        if event.after is None or self.behaviour.leaving == "delete":
            is_same = self.behaviour.same_version
            version = event.before["changeVersion"] if is_same else event.version
            carried = event.before if self.behaviour.delete_payload else {}
            data = {**carried, "id": event.id, "changeVersion": version}
            return {"changeType": "Delete", "data": data}
        if self.behaviour.leaving == "update":
            return {"changeType": "InsertOrUpdate", "data": event.after}
        return None

    def _link(self, kind: str, delta: int, cursor: int, after: int = 0, until: int = 0) -> str:
        return f"{kind}:{delta}:{cursor}:{after}:{until}:{self.requests}"
