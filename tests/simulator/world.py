"""One history, lived through: its steps, and what must be true after each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from protime_source.decode import tables
from protime_source.decode.soft_delete import Row
from protime_source.errors import VanishedRowsError
from protime_source.pipeline.overlaps import find_unmerged
from protime_source.pipeline.packages import staged_with
from protime_source.sync.reconcile import MIN_GUARDED_ROWS
from protime_source.warehouse.ledger import Silence
from tests.simulator.hosts import FAILURES, SOURCE, Folder, Host, Run, Site, read_bookmark
from tests.simulator.processes import Effects, Process
from tests.simulator.protime import START, Fault, Protime, is_inside
from tests.simulator.steps import (
    HOSTS,
    Delete,
    Fail,
    Happen,
    History,
    SetClock,
    Step,
    Wait,
    Write,
    make_history,
)
from tests.simulator.steps import Folder as FolderStep
from tests.simulator.steps import Run as RunStep
from tests.simulator.warehouse import Warehouse

Met = Counter[tuple[str, str]]
"""How often an event met a state."""

RUNS_TO_RECOVER = 4
"""A run after which all is well comes within so many, whatever happened before."""


class ViolationError(AssertionError):
    """Something is not as it must be."""


def require(condition: object, problem: str) -> None:
    """Raises unless a condition holds."""
    if not condition:
        raise ViolationError(problem)


@dataclass(frozen=True)
class Backup:
    """A copy of the warehouse, and of what was known of it."""

    warehouse: Warehouse
    known: dict[int, Row]
    written: frozenset[tuple[int, datetime]]


@dataclass
class Watch:
    """What is seen of a process from its begin on."""

    run: Run
    events_before: int
    pending_before: bool
    is_alone: bool = True
    was_blind: bool = False
    writes: Counter[str] = field(default_factory=Counter)


@dataclass
class World:
    """A tenant, a warehouse, hosts, and what somebody who sees everything knows of them.

    Attributes:
        history: What happens.
        met: Counts which event met which state.
        trace: One line for each step; `None` to keep none.
    """

    history: History
    met: Met | None = None
    trace: list[str] | None = None
    known: dict[int, Row] = field(default_factory=dict)
    written: set[tuple[int, datetime]] = field(default_factory=set)
    mirror: dict[int, Row] = field(default_factory=dict)
    robbed: set[int] = field(default_factory=set)
    backup: Backup | None = None
    is_tampered: bool = False
    is_blinded: bool = False
    is_loosened: bool = False

    def __post_init__(self) -> None:
        self.effects = Effects()
        self.protime = Protime(self.effects, self.history.behaviour)
        self.site = Site(
            self.effects,
            self.protime,
            Warehouse(),
            self.history.is_file,
            self.history.max_vanished_share,
            self.history.in_two_files,
            self.history.batch_pages,
            self._merged,
        )
        self.protime.is_stored = lambda id_: id_ in (self.warehouse.rows or {})
        self.hosts = [Host(f"host {number}") for number in range(HOSTS)]
        self.saved: dict[int, Folder] = {}
        self.watches: dict[str, Watch] = {}

    @property
    def warehouse(self) -> Warehouse:
        return self.site.warehouse

    def live(self) -> None:
        """Lives through all steps, then comes to an end that must be right."""
        with mock.patch.object(tables, "ROWS_PER_GROUP", self.history.group_rows):
            self._live()

    def _live(self) -> None:
        for step in self.history.steps:
            self.effects.time += timedelta(minutes=1)
            states = list(self._states(step)) if self.met is not None else []
            event = self._do(step)
            if self.met is not None:
                self.met.update((event, state) for state in states)
            if self.trace is not None:
                self.trace.append(f"{step} -> {event} {self.digest()}")
        self._end()
        if self.trace is not None:
            self.trace.append(f"end {self.digest()}")

    def digest(self) -> str:
        """Tells this world from any other."""
        folders = [(host.folder.state, len(host.folder.packages)) for host in self.hosts]
        rows = sorted((self.warehouse.rows or {}).items())
        text = json.dumps([rows, folders, len(self.warehouse.states)], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    # The steps.

    def _do(self, step: Step) -> str:
        """Does a step, and returns what it was, in words."""
        match step:
            case Write(id_, day):
                self.protime.write(id_, day)
                return "change"
            case Delete(id_):
                self.protime.delete(id_)
                return "delete"
            case RunStep():
                return self._run(step)
            case Wait(hours):
                self.effects.time += timedelta(hours=hours)
                return f"wait {hours} hours"
            case SetClock(number, hours):
                self.hosts[number].clock = timedelta(hours=hours)
                return "set a clock"
            case Fail(after, kind):
                self.protime.faults.append(Fault(after, kind))
                return f"fault: {kind}"
            case FolderStep(number, what):
                self._to_folder(number, what)
                return f"folder: {what}"
            case Happen(what):
                self._happen(what)
                return what

    def _to_folder(self, number: int, what: str) -> None:
        host = self.hosts[number]
        if host.process is not None:  # whoever takes a folder away ends what runs in it
            self._kill(host)
        match what:
            case "lose":
                host.folder = Folder()
            case "save":
                self.saved[number] = host.folder.copy()
            case "put back":
                host.folder = self.saved.get(number, Folder()).copy()
            case "copy":
                host.folder = self.hosts[1 - number].folder.copy()

    def _happen(self, what: str) -> None:
        warehouse = self.warehouse
        if what in ("empty the table", "drop a column"):
            for host in self.hosts:  # nobody does it while a run is at work
                self._kill(host)
        match what:
            case "another consumer":
                self.protime.end_deltas()
            case "back up":
                self.backup = Backup(warehouse.copy(), dict(self.known), frozenset(self.written))
            case "put back":
                self._put_back()
            case "empty the table" if warehouse.rows:
                warehouse.rows = {}
                self.written = set(warehouse.history)
                self._tampered()
            case "drop a column" if warehouse.rows and self._can_load:
                rows = warehouse.rows.items()
                warehouse.rows = {id_: {**row, "label": None} for id_, row in rows}
                warehouse.lacks_column = True
                self.robbed |= warehouse.rows.keys()
                self._tampered()
            case "drop the staging table" if not warehouse.lacks_column:
                warehouse.staging = None
            case "lose seen ids":
                warehouse.seen.clear()
            case "lose locks":
                is_used = any(host.process is not None for host in self.hosts)
                self.is_loosened |= is_used and warehouse.lock is not None
                warehouse.lock = None
            case "refuse" if not warehouse.lacks_column:
                warehouse.refusals = 2
            case "hide":
                self.protime.hidden = True
            case "show":
                self.protime.hidden = False

    @property
    def _can_load(self) -> bool:
        """Whether the next load comes to its end unless it is killed."""
        return self.warehouse.staging is not None and not self.warehouse.refusals

    def _put_back(self) -> None:
        """A backup is put back; nothing is connected meanwhile."""
        if self.backup is None:
            return
        for host in self.hosts:
            self._kill(host)
        self.site.warehouse = self.backup.warehouse.copy()
        self.known, self.written = dict(self.backup.known), set(self.backup.written)
        self.mirror = dict(self.warehouse.rows or {})

    def _tampered(self) -> None:
        """Somebody has changed the table by hand: what follows it begins anew."""
        self.is_tampered = True
        self.known = dict(self.warehouse.rows or {})
        self.mirror = dict(self.known)

    def _run(self, step: RunStep) -> str:
        if self.warehouse.lacks_column:
            # dlt adds the column before the merge fills it: a kill between the two is open.
            step = replace(step, effects=None)
        host = self.hosts[step.host]
        if host.process is None:
            self._begin(host, step)
        for other in self.hosts:
            if other is not host and other.process is not None:
                self.watches[other.name].is_alone = self.watches[host.name].is_alone = False
        process = host.process
        require(process is not None, "a host without a process")
        assert process is not None
        self.watches[host.name].was_blind |= self.protime.hidden
        process.go_on(step.effects, step.counted)
        if process.is_over:
            return self._over(host, process)
        if step.dies:
            self._kill(host)
            return f"killed before: {process.at}"
        return f"stands still before: {process.at}"

    def _begin(self, host: Host, step: RunStep) -> None:
        run = Run(host, self.site, step.full_resync, step.package_pages, step.max_pages)
        watch = Watch(run, len(self.protime.events), bool(host.folder.packages))
        self.watches[host.name] = watch
        host.process = Process(self.effects, run.main)

    def _kill(self, host: Host) -> None:
        if host.process is not None:
            process, host.process = host.process, None
            is_merging = process.at in ("mark the merge", "write the load's record")
            others = [other for other in self.hosts if other is not host]
            if is_merging and any(each.process or each.folder.packages for each in others):
                self.is_loosened = True  # another one may merge the same rows, with its own time
            process.kill()
            self._require_expected(process)
            self.is_blinded |= self.watches[host.name].was_blind
            self._check_anytime()

    def _over(self, host: Host, process: Process) -> str:
        host.process = None
        self._require_expected(process)
        watch = self.watches[host.name]
        self.is_blinded |= watch.was_blind and not isinstance(process.error, VanishedRowsError)
        self._check_anytime()
        if process.error is not None:
            return f"run failed: {type(process.error).__name__}"
        self._check_success(watch)
        return "run succeeded"

    def _require_expected(self, process: Process) -> None:
        if process.error is not None and not isinstance(process.error, FAILURES):
            raise process.error

    def _end(self) -> None:
        """All is well at the end: no faults, and each host runs as its schedule says."""
        for number, host in enumerate(self.hosts):
            if host.process is not None:
                self._run(RunStep(number))
        self.protime.faults.clear()
        self.protime.hidden = False
        self.warehouse.refusals = 0
        self.site.max_vanished_share = 1.0
        for number in range(self._used_hosts()):
            self._recover(number)
        behaviour = self.history.behaviour
        is_silent = behaviour.leaving == "silent"
        self._recover(0, full_resync=self.is_blinded or is_silent)
        self._check_table(is_exact=not behaviour.lags)
        self._recover(0)
        require(self.warehouse.rows is not None, "a tenant without records has an empty table")
        self._check_table(is_exact=not is_silent)

    def _used_hosts(self) -> int:
        used = [s.host for s in self.history.steps if isinstance(s, RunStep | FolderStep)]
        return max([0, *used]) + 1

    def _recover(self, number: int, *, full_resync: bool = False) -> None:
        outcomes = []
        for _ in range(RUNS_TO_RECOVER):
            outcomes.append(self._run(RunStep(number, full_resync=full_resync)))
            if outcomes[-1] == "run succeeded":
                return
        raise ViolationError(f"no run succeeds any more: {outcomes}")

    # What must be true.

    def _merged(self, rows: dict[int, Row]) -> None:
        """A merge has written rows: none goes back, and `synced_at` moves with changes alone."""
        newest = max((row["synced_at"] for row in self.known.values()), default=None)
        process = self.effects.current
        watch = next((w for n, w in self.watches.items() if self._is_of(process, n)), None)
        for id_, row in rows.items():
            before = self.known.get(id_)
            if row == before:
                continue  # the same package once more
            if before is not None:
                is_older = row["change_version"] < before["change_version"]
                require(not is_older, f"{id_} went back to an older version")
            if before is not None and row["delete_reason"] == "vanished":
                is_outside = row["from_date"] < str(START) and self._has_window
                require(not is_outside, f"{id_} lies before the window, and is soft-deleted")
            if not self.is_loosened:
                is_news = before is None or {**row, "synced_at": 0} != {**before, "synced_at": 0}
                require(is_news, f"{id_} was written as it was")
                is_later = newest is None or row["synced_at"] > newest
                require(is_later, f"{id_} was written with a synced_at that does not grow")
            require(row["label"] or id_ in self.robbed, f"{id_} has lost its last-known values")
            if watch is not None:
                watch.writes[_kind_of_write(before, row)] += 1
            self.written.add((id_, row["synced_at"]))
        self.known = self.known | rows
        vanished = sum(row["delete_reason"] == "vanished" for row in rows.values())
        is_suspicious = self.protime.hidden and self.site.max_vanished_share < 1
        require(not is_suspicious or vanished < MIN_GUARDED_ROWS, "the guard has let all rows go")

    @property
    def _has_window(self) -> bool:
        return self.history.behaviour.kind == "delta"

    def _is_of(self, process: Process | None, name: str) -> bool:
        return any(host.name == name and host.process is process for host in self.hosts)

    def _check_anytime(self) -> None:
        """Also after a failure or a kill, when nobody else is at work."""
        if any(host.process is not None for host in self.hosts):
            return
        rows = self.warehouse.rows or {}
        require(rows == self.known, "rows have changed without a merge")
        if not self.is_loosened:
            last = max((row["synced_at"] for row in self.mirror.values()), default=None)
            new = {i: row for i, row in rows.items() if last is None or row["synced_at"] > last}
            self.mirror |= new
            require(self.mirror == rows, "a mirror by synced_at differs")
        if not (self.is_tampered or self.is_blinded or self.protime.hidden or self._is_in_doubt):
            self._check_bookmark(rows)

    @property
    def _is_in_doubt(self) -> bool:
        """Whether a run has ended without a word, and the next one has to look what it merged."""
        warehouse, newest = self.warehouse, self.warehouse.newest_commit()
        if newest is None:
            return False
        silence: Silence = frozenset({"found"}) if warehouse.running else frozenset()
        silence |= {"known"} if warehouse.silent else frozenset()
        held = warehouse.staged_rows(staged_with(None, newest.state, SOURCE))
        return find_unmerged(silence, newest.load_id, newest.state, SOURCE, held) != "right"

    def _check_bookmark(self, rows: dict[int, Row]) -> None:
        """What the committed link will not show again is in the table."""
        bookmark = read_bookmark(self.warehouse.committed())
        position = self.protime.cursor(bookmark.link) if bookmark else None
        if bookmark is None or position is None:
            return
        behaviour = self.history.behaviour
        cursor = position[0] - 2 * behaviour.lags
        up_to = int(bookmark.link.split(":")[3]) if bookmark.full_load_in_progress else None
        last: dict[int, tuple[str, bool | None]] = {}
        for event in self.protime.events[: max(0, cursor)]:
            if is_inside(event.after):
                last[event.id] = event.version, True
            elif is_inside(event.before):
                is_silent = event.after is not None and behaviour.leaving != "delete"
                last[event.id] = event.version, None if is_silent else False
        later = {event.id for event in self.protime.events[max(0, cursor) :]}
        for id_, (version, is_live) in last.items():
            row = rows.get(id_)
            if id_ in later:
                continue  # the link shows it again
            if is_live and (up_to is None or id_ <= up_to):
                is_there = row is not None and row["change_version"] >= version
                require(is_there, f"the bookmark is ahead of {id_}")
                is_deleted = row is not None and row["is_deleted"]
                require(not is_deleted, f"{id_} is soft-deleted, and lives")
            elif is_live is False and up_to is None and row is not None:
                # No full load shows what is stored as before the window: nothing is known of it.
                is_known = not self._has_window or row["from_date"] >= str(START)
                is_gone = row["is_deleted"] or row["change_version"] > version or not is_known
                require(is_gone, f"the bookmark is ahead of the deletion of {id_}")

    def _check_success(self, watch: Watch) -> None:
        run, rows = watch.run, self.warehouse.rows or {}
        if any(host.process is not None for host in self.hosts):
            return
        bookmark = read_bookmark(self.warehouse.committed())
        is_complete = bookmark is None or not bookmark.full_load_in_progress
        is_counted = bookmark is not None and bookmark.live_rows is not None
        if is_complete and is_counted and bookmark and not self.is_loosened:
            live = sum(not row["is_deleted"] for row in rows.values())
            require(bookmark.live_rows == live, "the bookmark counts other live rows")
        if watch.is_alone and not self.is_loosened:
            require(bookmark == run.host.folder.bookmark, "what the run committed does not count")
        if is_complete and self.is_tampered:
            self.is_tampered = run.max_pages is not None
        if not self.is_loosened:
            history = self.warehouse.history
            require(len(history) == len(set(history)), "a version is in the history twice")
            # What a run that died meanwhile has merged, the next run records.
            is_recorded = set(history) == self.written or not watch.is_alone
            require(is_recorded, "the history is not what was written")
            require(set(history) <= self.written, "the history has what was never written")
            if watch.is_alone and not watch.pending_before and len(run.counts) == 1:
                counts = run.counts[0]
                found = {
                    "inserted": counts.inserted,
                    "updated": counts.updated,
                    "soft_deleted": counts.soft_deleted,
                }
                wrong = {k: n for k, n in found.items() if n != watch.writes[k]}
                require(not wrong, f"counted {found}, written {dict(watch.writes)}")
        is_quiet = watch.is_alone and watch.events_before == len(self.protime.events)
        was_resumed = run.max_pages is not None and any(c.resumed for c in run.counts)
        extracted = bool(run.counts)
        if is_quiet and is_complete and extracted and not was_resumed and not self.is_blinded:
            self._check_table(is_exact=False)

    def _check_table(self, *, is_exact: bool) -> None:
        """The live rows of the window are Protime's records, field by field."""
        behaviour = self.history.behaviour
        if behaviour.lags and not is_exact:
            return  # a full load has shown what the next delta corrects
        rows, start = self.warehouse.rows or {}, str(START)
        live = {
            id_: (row["change_version"], row["from_date"], row["label"])
            for id_, row in rows.items()
            if not row["is_deleted"] and (row["from_date"] >= start or behaviour.kind == "snapshot")
        }
        wanted = {
            id_: (record["changeVersion"], record["from"], record["label"])
            for id_, record in self.protime.records.items()
            if is_inside(record)
        }
        if behaviour.leaving == "silent" and not is_exact:
            left = {event.id for event in self.protime.events if is_inside(event.before)}
            live = {i: row for i, row in live.items() if i in wanted or i not in left}
        require(live == wanted, f"the table has {live}, Protime {wanted}")
        for id_, row in rows.items():
            is_marked = bool(row["deleted_at"]), bool(row["delete_reason"])
            require(is_marked == (row["is_deleted"],) * 2, f"{id_} is marked by halves")
            if row["is_deleted"] and id_ not in self.robbed:
                values = row["from_date"], row["label"]
                ever = [(e.after["from"], e.after["label"]) for e in self._versions(id_)]
                require(values in ever, f"{id_} has values that it never had")

    def _versions(self, id_: int) -> Iterator[Any]:
        return (e for e in self.protime.events if e.id == id_ and e.after is not None)

    # Which states events meet.

    def _states(self, step: Step) -> Iterator[str]:
        bookmark = read_bookmark(self.warehouse.committed())
        yield f"bookmark: {self._bookmark_in_words(bookmark)}"
        rows = self.warehouse.rows
        yield f"table: {'missing' if rows is None else 'filled' if rows else 'empty'}"
        yield f"engine: {'file' if self.history.is_file else 'server'}"
        host = self.hosts[getattr(step, "host", 0)]
        folder = host.folder
        if folder.packages:
            yield f"folder: a package is {folder.packages[0].stage}"
        elif not folder.state["sources"]:
            yield "folder: new"
        else:
            yield f"folder: {'as committed' if folder.bookmark == bookmark else 'stale'}"
        if host.clock:
            yield "clock: wrong"
        if host.process is not None:
            yield "own run: stands still"
        if any(other is not host and other.process is not None for other in self.hosts):
            yield "other run: stands still"
        if self.is_loosened:
            yield "lock: was lost"

    def _bookmark_in_words(self, bookmark: Any) -> str:
        if bookmark is None:
            return "none"
        if bookmark.is_invalidated:
            return "invalidated"
        position = self.protime.cursor(bookmark.link)
        life = "alive" if position is None or position[1] else "dead"
        return f"{'full load' if bookmark.full_load_in_progress else 'delta'}, {life}"


def _kind_of_write(before: Row | None, row: Row) -> str:
    if before is None:
        return "inserted"
    return "soft_deleted" if row["is_deleted"] and not before["is_deleted"] else "updated"


def live_through(history: History | int, met: Met | None = None) -> list[str]:
    """Lives through a history, or that of a seed, and returns its trace.

    Raises:
        ViolationError: When something is not as it must be.
    """
    if isinstance(history, int):
        history = make_history(history)
    world = World(history, met, trace=[])
    world.live()
    return world.trace or []
