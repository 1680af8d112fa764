"""Random histories of a tenant, of its faults, and of runs that come to an end or do not."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from protime_source import ProtimeError, protime
from protime_source.demo import DemoServer, DemoTenant, Fault
from protime_source.errors import ApiError
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from protime_source.pipeline.recovery import load_pending
from protime_source.pipeline.states import read_bookmark
from tests.engines import Engine
from tests.kill_points import KILL_POINTS, MOMENTS, Moment, run_until
from tests.world import Moment as Event
from tests.world import Row, World, as_sent, as_wanted, timeless

START = (date.today() - timedelta(days=180)).isoformat()
"""Inside the data, so that rows move into and out of the window; the tenant accepts it, too, when
its year has ended in the course of a history."""

PERSON = {"person": {"id": 7}}
counted: Counter[str] = Counter()
"""What all histories of this process were made of."""

_SWITCHES: dict[str, tuple[Any, ...]] = {
    "repeat_events": (False, True),
    "order": ("oldest_first", "newest_first", "shuffled"),
    "page_overlap": (0, 3),
    "events": ("compacted", "all"),
    "links_rereadable": (True, False),
    "pages_rereadable": (True, False),
    "older_delta_dies": (True, False),
    "delete_payload": (False, True),
    "delete_version": ("new", "same"),
    "delta_page_size": (None, 2),
    "empty_last_page": (False, True),
    "empty_middle_page": (False, True),
    "stale_continuation_status": (409, 410),
    "link_style": ("plain", "encoded", "absolute"),
}
_BEHAVIOURS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in _SWITCHES.items()}
)
_FAULTS = st.builds(
    Fault,
    st.sampled_from(("status", "drop", "cut", "truncated_json")),
    status=st.sampled_from((500, 403, 409, 410)),
    times=st.sampled_from((1, 3, 12)),
    after=st.integers(0, 3),
)
_NUMBER = st.integers(0, 2**16)
_DAYS = st.integers(-190, 120)
_POINTS = st.sampled_from([(point, m) for point in KILL_POINTS for m in MOMENTS])


class Histories(RuleBasedStateMachine):
    """One history. A subclass says in which engine.

    The model is what the tenant holds inside the window; besides it remembers every version of
    every record that there ever was, by which each row of the table must be whole.
    """

    make_engine: Callable[[Path], Engine]

    @initialize(rows=st.sampled_from((0, 1, 30)), page_size=st.sampled_from((4, 50)))
    def begin(self, rows: int, page_size: int) -> None:
        self._folder = TemporaryDirectory(prefix="history-")
        folder = Path(self._folder.name)
        tenant = DemoTenant(rows=rows, page_size=page_size)
        server = DemoServer(tenant).__enter__()
        self._environment = patch.dict(
            os.environ, {**server.environment(), "DLT_DATA_DIR": str(folder / "dlt")}
        )
        self._environment.start()
        self.world = World(tenant, server, folder, type(self).make_engine(folder))
        self.deletes = "mark"
        self.in_parts = False
        self.versions: dict[int, dict[str, Row]] = {}
        self.marked: dict[int, Row] = {}
        self.gone: set[int] = set()
        self.touched: set[int] = set()
        self.touched_before: set[int] = set()
        counted["histories"] += 1
        self._note()

    def teardown(self) -> None:
        """Every history ends well."""
        if not hasattr(self, "world"):
            return
        try:
            if sys.exception() is None:
                self._run_to_the_end()
        finally:
            self.world.server.__exit__()
            self._environment.stop()
            self._folder.cleanup()

    # What happens in the tenant.

    @rule(days=_DAYS)
    def create(self, days: int) -> None:
        self.world.tenant.create({**PERSON, "from": _day(days)})
        self._note("create")

    @precondition(lambda self: self.world.tenant.records)
    @rule(number=_NUMBER, days=_DAYS)
    def update(self, number: int, days: int) -> None:
        fields = {**PERSON, "from": _day(days), "comments": str(number)}
        self.world.tenant.update(self._pick(number), fields)
        self._note("update")

    @precondition(lambda self: self.world.tenant.records)
    @rule(number=_NUMBER, out=st.booleans())
    def move(self, number: int, out: bool) -> None:
        """Over the window's edge."""
        edge = date.fromisoformat(START)
        day = edge - timedelta(days=1) if out else edge
        self.world.tenant.update(self._pick(number), {**PERSON, "from": day.isoformat()})
        self._note("move")

    @precondition(lambda self: self.world.tenant.records)
    @rule(number=_NUMBER, returns=st.booleans())
    def delete(self, number: int, returns: bool) -> None:
        """For good, or another record with the same fields comes in its place."""
        id_ = self._pick(number)
        record = self.world.tenant.records[id_]
        self.world.tenant.delete(id_)
        if returns:
            kept = {name: v for name, v in record.items() if name not in ("id", "changeVersion")}
            self.world.tenant.create(kept)
        self._note("delete")

    @precondition(lambda self: self.gone)
    @rule(number=_NUMBER, days=_DAYS)
    def restore(self, number: int, days: int) -> None:
        """A deleted record comes back, with its id and in a higher version."""
        gone = sorted(self.gone)
        fields = {**PERSON, "from": _day(days), "comments": "restored"}
        self.world.tenant.restore(gone[number % len(gone)], fields)
        self._note("restore")

    @rule(changes=st.sampled_from((3, 25)), seed=_NUMBER)
    def churn(self, changes: int, seed: int) -> None:
        self._churn(changes, seed)
        self._note("churn")

    @rule()
    def expire_the_delta(self) -> None:
        self.world.tenant.clock.advance(hours=73)
        self._note("expire")

    @rule()
    def steal_the_delta(self) -> None:
        self.world.tenant.steal_delta()
        self._note("steal")

    @rule()
    def revoke_tokens(self) -> None:
        self.world.tenant.revoke_tokens()
        self._note("revoke")

    @rule(switches=_BEHAVIOURS)
    def behave(self, switches: dict[str, Any]) -> None:
        self.world.tenant.behaviour = replace(self.world.tenant.behaviour, **switches)
        self._note("behave")

    # What happens here.

    @rule(deletes=st.sampled_from(("mark", "remove")))
    def decide(self, deletes: str) -> None:
        self.deletes = deletes
        self._note("decide")

    @rule(in_parts=st.booleans())
    def cut(self, in_parts: bool) -> None:
        """Full loads are one package, or several, and are fetched on meanwhile."""
        self.in_parts = in_parts
        self._note("cut")

    @rule()
    def lose_the_working_folder(self) -> None:
        self._lose()
        self._note("lose")

    @rule(full_resync=st.sampled_from((False, False, False, True)))
    def run(self, full_resync: bool) -> None:
        self._run_to_the_end(full_resync=full_resync)
        self._note("run")

    @rule(changes=st.sampled_from((0, 3)), seed=_NUMBER, lost=st.booleans())
    def run_bounded(self, changes: int, seed: int, lost: bool) -> None:
        is_resumed = not self._is_clean()
        self._run_bounded()
        self._check_as_far_as_it_went(is_resumed=is_resumed)
        self._churn(changes, seed)
        if lost:
            self._lose()
        self._note("bounded run")

    @rule(changes=st.sampled_from((1, 12)), seed=_NUMBER, after=st.integers(0, 3))
    def run_while_it_changes(self, changes: int, seed: int, after: int) -> None:
        event = Event(after=after, action=lambda: self._churn(changes, seed))
        self.world.tenant.faults.append(event)
        self._load()
        self.world.tenant.faults.clear()
        self._run_to_the_end()
        self._note("run with changes")

    @rule(faults=st.lists(_FAULTS, min_size=1, max_size=2), bounded=st.booleans())
    def run_with_faults(self, faults: list[Fault], bounded: bool) -> None:
        """Fresh copies: a fault counts, and Hypothesis may give the same one again."""
        is_clean, before = self._is_clean(), self._rows()
        self.world.tenant.faults.extend(replace(fault) for fault in faults)
        error = self._failure(bounded=bounded)
        self.world.tenant.faults.clear()
        if error is None:
            self._check_as_far_as_it_went(is_resumed=bounded and not is_clean)
        else:
            assert explain(error).exit_code == ApiError.exit_code, explain(error)
            in_one_load = is_clean and (bounded or not self.in_parts)
            assert not in_one_load or self._rows() == before, "a failed run changed rows"
            self._check_rows_are_whole()
            counted["failed runs"] += 1
        self._note("run with faults")

    @rule(
        place=_POINTS,
        nth=st.sampled_from((1, 1, 1, 2)),
        lost=st.booleans(),
        bounded=st.booleans(),
    )
    def run_and_be_killed(
        self, place: tuple[str, Moment], nth: int, lost: bool, bounded: bool
    ) -> None:
        settings = {**self._settings, **({"max_pages": 2} if bounded else {})}
        point, moment = place
        is_clean, before = self._is_clean(), self._rows()
        if run_until(point, moment, self.world, nth=nth, **settings):
            counted["kills"] += 1
            counted[f"killed {moment} {point}"] += 1
            self._check_what_the_kill_left(before, in_one_load=is_clean and not bounded)
        else:
            self._check_as_far_as_it_went(is_resumed=bounded and not is_clean)
        if lost:
            self._lose()
        self._note("run to be killed")

    # What must be true.

    @property
    def _settings(self) -> dict[str, Any]:
        return {"start_date": START, "deletes": self.deletes, "max_vanished_share": 1.0}

    def _run_to_the_end(self, **arguments: Any) -> None:
        self._load(**arguments)
        self._check()

    def _load(self, **arguments: Any) -> None:
        sizes = {"pipeline.load.PACKAGE_BYTES": 4000, "sync.prefetch.BATCH_BYTES": 1}
        with ExitStack() as patches:
            for name, size in sizes.items() if self.in_parts else ():
                patches.enter_context(patch(f"protime_source.{name}", size))
            load(self.world.pipeline(), **arguments, **self._settings)

    def _lose(self) -> None:
        if (self.world.folder / "pipelines").exists():
            self.world.lose_working_folder()

    def _run_bounded(self) -> None:
        load_pending(self.world.pipeline())
        self.world.pipeline().run(protime(max_pages=2, **self._settings))

    def _failure(self, *, bounded: bool) -> Exception | None:
        try:
            self._run_bounded() if bounded else self._load()
        except (PipelineStepFailed, ProtimeError) as error:
            return error
        return None

    def _check_as_far_as_it_went(self, *, is_resumed: bool) -> None:
        """What changed since the first part of a resumed full load comes with the next run."""
        if self._is_clean() and not is_resumed:
            self._check()
        else:
            self._check_rows_are_whole()

    def _check_what_the_kill_left(self, before: dict[int, Row], *, in_one_load: bool) -> None:
        """One load changes all of its rows or none."""
        self._check_rows_are_whole()
        rows = self._rows()
        if in_one_load and timeless(rows) != timeless(before):
            assert _live(rows) == self._wanted(), "the kill left a table that is half changed"

    def _is_clean(self) -> bool:
        """Whether no package is left, and no full load in progress."""
        pipeline = self.world.pipeline()
        bookmark = read_bookmark(pipeline, "assignments")
        return (
            not pipeline.has_pending_data
            and bookmark is not None
            and not bookmark.full_load_in_progress
        )

    def _check(self) -> None:
        """After a run that succeeded and is complete."""
        rows = self.world.rows()
        live = _live(rows)
        assert live == self._wanted()
        self._check_marked({id_: row for id_, row in rows.items() if row["is_deleted"]}, live)
        counted["complete runs"] += 1

    def _wanted(self) -> dict[int, Row]:
        """What the tenant holds inside the window."""
        return {
            id_: as_wanted(record)
            for id_, record in self.world.tenant.records.items()
            if record["from"] >= START
        }

    def _check_marked(self, marked: dict[int, Row], live: dict[int, Row]) -> None:
        """A marked row keeps its values unless something happened to it lately.

        Lately: since the run before the last, because a row that a full load found vanished may
        be announced as deleted in the next answer.
        """
        lately = self.touched | self.touched_before
        for id_, row in self.marked.items():
            if id_ not in live and id_ not in lately:
                assert id_ in marked, f"{id_} was marked, and is gone"
                assert _values(marked[id_]) == _values(row)
            elif self.deletes == "mark":
                assert id_ in marked or id_ in live, f"{id_} was marked, and is gone"
        for id_, row in marked.items():
            self._check_mark(id_, row)
        self.marked = marked
        self.touched, self.touched_before = set(), self.touched

    def _check_mark(self, id_: int, row: Row) -> None:
        assert row["delete_reason"] in ("announced", "vanished")
        assert row["deleted_at"] is not None
        self._check_values_were_true(id_, _values(row))

    def _check_values_were_true(self, id_: int, values: Row) -> None:
        """Field by field: a delete that carries fields is laid over the last stored row."""
        versions = self.versions[id_].values()
        for name, value in values.items():
            assert value in [version.get(name) for version in versions], (id_, name)

    def _check_rows_are_whole(self) -> None:
        """At any time: a live row is one version of its record, all of it; others are marked."""
        for id_, row in self._rows().items():
            if row["is_deleted"]:
                self._check_mark(id_, row)
            else:
                assert as_sent(row) == self.versions[id_][row["change_version"]]
                assert (row["deleted_at"], row["delete_reason"]) == (None, None)

    def _rows(self) -> dict[int, Row]:
        return self.world.seen()

    def _pick(self, number: int) -> int:
        ids = sorted(self.world.tenant.records)
        return ids[number % len(ids)]

    def _churn(self, changes: int, seed: int) -> None:
        """One by one, to know every version."""
        for number in range(changes):
            self.world.tenant.churn(1, seed=seed + number)
            self._remember()

    def _note(self, step: str = "") -> None:
        """Counts a step, and remembers the records as they are now."""
        if step:
            counted["steps"] += 1
            counted[f"step {step}"] += 1
        self._remember()

    def _remember(self) -> None:
        records = self.world.tenant.records
        for id_, record in records.items():
            known = self.versions.setdefault(id_, {})
            if record["changeVersion"] not in known:
                known[record["changeVersion"]] = as_wanted(record)
                self.touched.add(id_)
        self.touched |= self.versions.keys() - records.keys() - self.gone
        self.gone = self.versions.keys() - records.keys()


def _live(rows: dict[int, Row]) -> dict[int, Row]:
    return {id_: as_sent(row) for id_, row in rows.items() if not row["is_deleted"]}


def _values(row: Row) -> Row:
    """Without the version: an announced delete brings one of its own."""
    return {name: value for name, value in as_sent(row).items() if name != "changeVersion"}


def _day(days: int) -> str:
    return (date.today() + timedelta(days=days)).isoformat()


def summary() -> str:
    """What was done, on a few lines."""
    head = ("histories", "steps", "complete runs", "failed runs", "kills")
    lines = [", ".join(f"{counted[name]:,} {name}" for name in head)]
    for start in ("step ", "killed "):
        found = sorted((name, n) for name, n in counted.items() if name.startswith(start))
        lines.append(", ".join(f"{name.removeprefix('step ')}: {n:,}" for name, n in found))
    return "\n".join(lines)
