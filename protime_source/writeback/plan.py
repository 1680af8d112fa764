"""What a push would do to each row: decided from the row, the receipts, and what Protime has."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from protime_source.api.assignments import Assignment
from protime_source.warehouse.own_table import Entry
from protime_source.writeback.content import (
    Changes,
    changes_to,
    is_of_same_day,
    merged,
    sent_hash,
)
from protime_source.writeback.current import CurrentAssignments, Place
from protime_source.writeback.known import Receipts, StoredAssignments
from protime_source.writeback.wanted import REQUIRED, Wanted

Action = Literal["create", "update", "delete", "unchanged", "conflict", "invalid", "uncertain"]

SENT: tuple[Action, ...] = ("create", "update", "delete")
"""The actions that send something."""

ALREADY_THERE = "Protime had the same before: "
"""Begins the reason of a receipt when the ids that follow must not be taken for what it created."""

Status = Literal["", "done", "failed", "not sent", "unknown", "uncertain"]
"""Of what was to be sent; empty in a plan."""

_DAY_MINUTES = 24 * 60

_CLOCKS_DIFFER = timedelta(days=1)
"""How far a run's clock may be behind that of a push."""


@dataclass(frozen=True)
class Create:
    """Creates an assignment."""

    body: Assignment


@dataclass(frozen=True)
class Update:
    """Replaces an assignment: `current` is how the plan saw it, `fields` what changes in it."""

    current: Assignment
    fields: Mapping[str, Any]
    body: Assignment


@dataclass(frozen=True)
class Delete:
    """Deletes an assignment: `current` is how the plan saw it."""

    current: Assignment


@dataclass(frozen=True)
class Settlement:
    """What becomes of the receipt of an earlier push that was without an outcome until now."""

    run_id: str
    status: Literal["done", "failed", "uncertain"]
    id: int | None
    reason: str = ""


@dataclass(frozen=True)
class PlannedRow:
    """What becomes of one row.

    Attributes:
        number: Its position among the rows, from 1.
        key: The caller's own key.
        action: `create`, `update`, `delete`, or why nothing is sent: `unchanged`, `conflict`,
            `invalid`, `uncertain`.
        id: Protime's id, as far as it is known.
        changes: Old and new values by field.
        reason: Why it is in conflict, invalid, uncertain or failed; what else there is to know.
        warning: What is probably meant otherwise, though it can be sent.
        status: `done`; `failed`: Protime refused it; `not sent`; `unknown`: it may have arrived;
            `uncertain`; empty in a plan.
        is_adopted: Whether an earlier push created the assignment, which only this one found.
        is_known: Whether Protime has an assignment of this id or key.
        change: What is sent.
        settlement: What becomes of an earlier receipt.
    """

    number: int
    key: str
    action: Action
    id: int | None = None
    changes: Changes = field(default_factory=dict)
    reason: str = ""
    warning: str = ""
    status: Status = ""
    is_adopted: bool = False
    is_known: bool = False
    change: Create | Update | Delete | None = field(default=None, repr=False)
    settlement: Settlement | None = field(default=None, repr=False)

    @property
    def is_written(self) -> bool:
        """Whether Protime has the row as it is wanted, or will have when it is sent."""
        if self.action in SENT:
            return self.status in ("", "done")
        return self.action == "unchanged"


class Planner:
    """Plans one push.

    Args:
        rows: The wanted rows.
        receipts: Of earlier pushes.
        stored: The warehouse's table.
        current: What Protime has.
        force: Whether what changed in Protime since is overwritten.
    """

    def __init__(
        self,
        rows: Sequence[Wanted],
        receipts: Receipts,
        stored: StoredAssignments,
        current: CurrentAssignments,
        *,
        force: bool,
    ) -> None:
        self._receipts = receipts
        self._stored = stored
        self._current = current
        self._force = force
        ids = ((receipts.live_id(row.key), row.key) for row in rows)
        self._key_of = {id_: key for id_, key in ids if id_ is not None}
        self._rows = [self._checked(row) for row in rows]
        self._valid = [row for row in self._rows if not row.problems]
        self._owned = receipts.live_ids() | {row.id for row in self._valid if row.id}
        self._adopted: dict[str, int] = {}
        self._uncertain: dict[str, str] = {}
        self._versions: dict[int, str] = {}

    def plan(self) -> list[PlannedRow]:
        """Returns what a push would do.

        Raises:
            ApiError: When Protime gives no usable answer.
            DestinationException: When the warehouse cannot be read.
        """
        self._current.look_at(filter(None, map(_place, self._valid)))
        self._find_lost_creates()
        ids = {row.key: id_ for row in self._valid if (id_ := self._id(row)) is not None}
        found = {key: self._current.get(id_) for key, id_ in ids.items()}
        known = {key: current for key, current in found.items() if current is not None}
        self._versions = self._stored.versions(sorted(ids[key] for key in known))
        return [self._settled(self._decide(row), known.get(row.key)) for row in self._rows]

    def _checked(self, row: Wanted) -> Wanted:
        """The row, invalid if its id is another one than that of its key, or of another key."""
        id_ = self._receipts.live_id(row.key)
        if row.id and id_ and row.id != id_:
            return row.with_problem(f"its id is {row.id}, but its key stands for {id_}")
        if row.id and (key := self._key_of.get(row.id, row.key)) != row.key:
            return row.with_problem(f"its id belongs to the key {key}")
        return row

    def _id(self, row: Wanted) -> int | None:
        open_ = self._receipts.open.get(row.key)
        known = row.id or self._adopted.get(row.key) or self._receipts.live_id(row.key)
        return known or (open_["id"] if open_ else None)

    def _lost_create(self, row: Wanted) -> Entry | None:
        """The receipt of a create whose outcome is not known."""
        open_ = self._receipts.open.get(row.key)
        return open_ if open_ and open_["action"] == "create" and not row.id else None

    def _find_lost_creates(self) -> None:
        """Finds what earlier pushes may have created: exactly what they sent, and no key's own.

        Keys that sent the same share what is found, because nothing tells their assignments apart.
        """
        lost = [(row, open_) for row in self._valid if (open_ := self._lost_create(row))]
        rows_of: dict[str, list[tuple[Wanted, Entry]]] = defaultdict(list)
        for row, open_ in lost:
            rows_of[open_["sent_hash"]].append((row, open_))
        has_id = {row.key for row in self._valid if row.id}
        waiting = Counter(
            open_["sent_hash"]
            for key, open_ in self._receipts.open.items()
            if open_["action"] == "create" and key not in has_id
        )
        elsewhere = {
            hash_
            for hash_, rows in rows_of.items()
            if not any(_sent_to(row, hash_) for row, _ in rows)
        }
        synced = self._synced(elsewhere, [open_ for _, open_ in lost]) if elsewhere else {}
        for hash_, rows in rows_of.items():
            excluded = self._owned | {id_ for _, open_ in rows for id_ in _there_before(open_)}
            places = {_place(row) for row, _ in rows if _sent_to(row, hash_)}
            shown = [each for place in places if place for each in self._current.at(place)]
            same = {each.id or 0 for each in shown if sent_hash(each) == hash_}
            ids = sorted((same | synced.get(hash_, set())) - excluded)
            keys = [row.key for row, _ in rows]
            if len(ids) > waiting[hash_]:
                text = (
                    "an earlier push may have created it, and Protime has more than one exactly"
                    f" like what was sent: {_listed(ids)}. Give the row the id of the right one,"
                    " or delete the wrong one in Protime"
                )
                self._uncertain |= dict.fromkeys(keys, text)
                continue
            self._adopted |= dict(zip(keys, ids, strict=False))
            if not places:
                text = (
                    "an earlier push may have created it for another person or day. Push the row"
                    " once more as it was then, or after the next run, or give it the id"
                )
                self._uncertain |= dict.fromkeys(keys[len(ids) :], text)

    def _synced(self, hashes: set[str], lost: Sequence[Entry]) -> dict[str, set[int]]:
        """By hash, the ids that the warehouse has since, where the row names another day."""
        found: dict[str, set[int]] = defaultdict(set)
        since = min(open_["intended_at"] for open_ in lost) - _CLOCKS_DIFFER
        for each in self._stored.synced_since(since):
            if (hash_ := sent_hash(each)) in hashes:
                found[hash_].add(each.id or 0)
        return found

    def _decide(self, row: Wanted) -> PlannedRow:
        planned = PlannedRow(row.number, row.key, "invalid", row.id)
        if row.problems:
            return replace(planned, reason="; ".join(row.problems))
        if row.key in self._uncertain:
            return replace(planned, action="uncertain", reason=self._uncertain[row.key])
        id_ = self._id(row)
        if id_ is None:
            if row.is_deleted:
                reason = "no assignment is known by its key"
                return replace(planned, action="unchanged", reason=reason)
            return self._create(row, planned)
        current = self._current.get(id_)
        if current is None:
            return self._missing(row, replace(planned, id=id_))
        planned = replace(planned, id=id_, is_known=True)
        if row.is_deleted:
            planned = replace(planned, action="delete", change=Delete(current))
            return self._unless_changed(row, planned, current)
        if not (changes := changes_to(current, row.fields)):
            return replace(planned, action="unchanged")
        body = merged(current, row.fields)
        update = Update(current, row.fields, body)
        planned = replace(planned, action="update", changes=changes, change=update)
        if body.until_date is not None and body.until_date < body.from_date:
            return replace(planned, action="invalid", reason="until_date would be before from_date")
        if {"start_time_in_minutes", "end_time_in_minutes"} & changes.keys():
            planned = replace(planned, warning=_warning(body))
        return self._unless_changed(row, planned, current)

    def _create(self, row: Wanted, planned: PlannedRow) -> PlannedRow:
        if missing := [name for name in REQUIRED if name not in row.fields]:
            reason = f"{' and '.join(missing)} missing: a new assignment needs it"
            return replace(planned, reason=reason)
        body = Assignment(**row.fields)
        place = (body.person_id, body.from_date)
        like = [each for each in self._current.at(place) if sent_hash(each) == sent_hash(body)]
        ids = [each.id or 0 for each in like if each.id not in self._owned]
        return replace(
            planned,
            action="create",
            id=None,
            change=Create(body),
            changes={name: (None, value) for name, value in row.fields.items() if value},
            reason=f"{ALREADY_THERE}{', '.join(map(str, ids))}" if ids else "",
            warning=_warning(body),
        )

    def _missing(self, row: Wanted, planned: PlannedRow) -> PlannedRow:
        if row.is_deleted:
            return replace(planned, action="unchanged", reason="Protime no longer has it")
        if row.id and row.key not in self._receipts.done:
            return replace(planned, reason=f"Protime has no assignment {row.id}")
        open_ = self._receipts.open.get(row.key)
        is_our_delete = open_ is not None and open_["action"] == "delete"
        if (self._force or is_our_delete) and not row.id:
            return self._create(row, planned)
        reason = f"{planned.id} was deleted in Protime. With force it is created anew"
        if row.id:
            reason = f"{planned.id} was deleted in Protime. Leave out its id to create it anew"
        return replace(planned, action="conflict", reason=reason)

    def _unless_changed(self, row: Wanted, planned: PlannedRow, current: Assignment) -> PlannedRow:
        """The planned change, or a conflict when Protime has a version that nobody here saw."""
        if self._force or self._receipts.is_as_sent(current, row.key):
            return planned
        seen = row.version or self._versions.get(planned.id or 0)
        if seen in (None, current.change_version):
            return planned
        whose = "the row was made from" if row.version else "the warehouse has"
        reason = f"changed in Protime since the version that {whose}. With force it is overwritten"
        return replace(planned, action="conflict", reason=reason)

    def _settled(self, planned: PlannedRow, current: Assignment | None) -> PlannedRow:
        """The planned row with what becomes of the receipt that was open, now that it is known."""
        open_ = self._receipts.open.get(planned.key)
        if open_ is None or planned.action == "invalid":
            return planned
        if planned.action == "uncertain":
            settlement = Settlement(open_["run_id"], "uncertain", None, _uncertain(planned, open_))
        elif planned.key in self._adopted:
            settlement = Settlement(open_["run_id"], "done", self._adopted[planned.key])
            reason = planned.reason or "adopted: an earlier push created it"
            planned = replace(planned, reason=reason, is_adopted=True)
        elif _is_carried_out(open_, current):
            settlement = Settlement(open_["run_id"], "done", planned.id)
        else:
            settlement = Settlement(
                open_["run_id"], "failed", open_["id"], _why_not_there(open_, current)
            )
        return replace(planned, settlement=settlement)


def _is_carried_out(open_: Entry, current: Assignment | None) -> bool:
    """Whether an assignment is as an update or delete without an answer would have left it."""
    if current is None or open_["action"] == "delete":
        return current is None and open_["action"] == "delete"
    return bool(sent_hash(current) == open_["sent_hash"])


def _why_not_there(open_: Entry, current: Assignment | None) -> str:
    """Why Protime does not have what a change without an answer would have left."""
    if open_["action"] == "delete":
        return "It did not reach Protime."
    if open_["action"] == "update" and current is None:
        return "The assignment was deleted in Protime since."
    return "It did not reach Protime, or was changed there since."


def _warning(body: Assignment) -> str:
    """What is odd about the times; Protime does not document that it refuses them."""
    start, end = body.start_time_in_minutes, body.end_time_in_minutes
    is_of_one_day = body.until_date in (None, body.from_date)
    if start is None or end is None or end >= start or not is_of_one_day:
        return ""
    text = f"warning: it ends ({end}) before it starts ({start})"
    next_day = end + _DAY_MINUTES
    return f"{text}; on the next day it ends at {next_day}" if next_day > start else text


def _place(row: Wanted) -> Place | None:
    person, day = row.fields.get("person_id"), row.fields.get("from_date")
    return (person, day) if person and day else None


def _sent_to(row: Wanted, hash_: str) -> bool:
    """Whether what has this hash was sent for the person and day that the row names."""
    place = _place(row)
    if place is None:
        return False
    return is_of_same_day(hash_, sent_hash(Assignment(person_id=place[0], from_date=place[1])))


def _there_before(open_: Entry) -> list[int]:
    ids = (open_["reason"] or "").partition(ALREADY_THERE)[2]
    return [int(id_) for id_ in re.findall(r"\d+", ids)]


def _uncertain(planned: PlannedRow, open_: Entry) -> str:
    """The reason of a receipt that stays uncertain; it still says what was there before."""
    before = (open_["reason"] or "").partition(ALREADY_THERE)
    return f"{planned.reason}. {before[1]}{before[2]}".removesuffix(". ")


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")
