"""The simulator's histories, lived through by real runs on a real warehouse.

What the demo tenant or a real engine does not offer is left out: a collection without a delta, a
Protime that lags or hides records, and a destination that refuses a statement.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import ProtimeError
from protime_source.demo import Behaviour, DemoServer, DemoTenant, Fault
from protime_source.pipeline.failures import explain
from protime_source.pipeline.states import read_bookmark
from tests.circumstances import Circumstances
from tests.engines import Engine, Restore
from tests.kill_points import SteppedRun, run_or_load
from tests.simulator import steps
from tests.simulator.protime import Behaviour as SimulatedBehaviour
from tests.simulator.world import RUNS_TO_RECOVER
from tests.truth import SETTINGS, START, Truth
from tests.world import Row, World

counted: Counter[str] = Counter()
"""What all histories of this process were made of."""

PLACES: dict[str, str] = {
    "request": "before request",
    "response": "after request",
    "commit the extracted package": "before extract commit",
    "save the state": "before state save",
    "normalize": "before normalize commit",
    "open the destination": "after normalize commit",
    "update the schema": "after normalize commit",
    "empty the staging table": "before schema update",
    "copy the state": "after schema update",
    "mark the state's copy": "after schema update",
    "copy to the staging table": "before staging load",
    "mark the copy": "before staging load's marker",
    "merge": "before merge statement",
    "mark the merge": "after merge transaction",
    "write the load's record": "before load record",
    "put the package away": "after load record",
    "read the states beside the load's": "before package's marker",
    "check the staging table": "before staged rows",
    "uncommit": "before commit taken back",
    "read the committed state": "before committed state",
    "delete a package": "after committed state of a pending package",
}
"""Where a real run stands before an effect of the simulated one, or next to it."""

_FAULTS: dict[str, Fault] = {
    "unavailable": Fault("status", status=503, times=12),
    "garbled": Fault("truncated_json", times=12),
    "too large": Fault("drop", times=1),
    "unknown change": Fault("cut", times=12),
    "forbidden": Fault("status", status=403),
}
"""The tenant's nearest to a simulated fault; the sixth attempt is a run's last."""

_PATIENCE_SECONDS = 2.0
"""A run that says nothing for so long waits for what another one holds."""


@dataclass
class Host:
    """A machine: a working folder, a clock, and a run that stands still, if there is one."""

    world: World
    clock_hours: int = 0
    run: SteppedRun | None = None
    knew_changes: int = 0
    is_alone: bool = True

    @property
    def pipelines(self) -> Path:
        """Dlt's working folder."""
        return self.world.folder / "pipelines"


class Life:
    """One history, lived through.

    Args:
        history: What happens.
        world: An empty tenant that behaves as the history says, and an empty warehouse.
        deletes: The setting.
    """

    def __init__(
        self, history: steps.History, world: World, deletes: Literal["mark", "remove"]
    ) -> None:
        self.history, self.world, self.deletes = history, world, deletes
        self.truth = Truth(world, deletes)
        self.hosts = [
            Host(replace(world, folder=world.folder / f"host {number}"))
            for number in range(steps.HOSTS)
        ]
        self.changes = 0
        self.lacks_column = False
        self.backup: tuple[Restore, dict[int, Row]] | None = None
        self.trace: list[str] = []

    def live(self) -> None:
        """Lives through all steps, then comes to an end that must be right."""
        counted["histories"] += 1
        try:
            for step in self.history.steps:
                self._note(step, self._do(step))
            self._end()
        except BaseException as error:
            error.add_note("\n".join([f"{self.history.behaviour}", *self.trace]))
            raise
        finally:
            for host in self.hosts:
                if host.run is not None:
                    host.run.kill()

    def _note(self, step: object, event: str) -> None:
        self.trace.append(f"{step} -> {event}")
        counted["steps"] += 1
        counted[event] += 1

    # The steps.

    def _do(self, step: steps.Step) -> str:
        """Does a step, and returns what it was, in words."""
        tenant = self.world.tenant
        match step:
            case steps.Write(id_, day):
                self._write(id_, day)
                return "change"
            case steps.Delete(id_):
                if id_ in tenant.records:
                    tenant.delete(id_)
                self._changed()
                return "delete"
            case steps.Run():
                return self._run(step)
            case steps.Wait(hours):
                tenant.clock.advance(hours=hours)
                return f"wait {hours} hours"
            case steps.SetClock(number, hours):
                self.hosts[number].clock_hours = hours
                return "set a clock"
            case steps.Fail(after, kind):
                tenant.faults.append(replace(_FAULTS[kind], after=after))
                return f"fault: {kind}"
            case steps.Folder(number, what):
                self._to_folder(number, what)
                return f"folder: {what}"
            case steps.Happen(what):
                return what if self._happen(what) else f"{what}: not possible"

    def _write(self, id_: int, day: int) -> None:
        tenant = self.world.tenant
        fields = {
            "person": {"id": 7},
            "from": (START + timedelta(days=day)).isoformat(),
            "comments": f"change {self.changes}",
        }
        write = tenant.update if id_ in tenant.records else tenant.restore
        write(id_, fields)
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self.truth.note_records()

    def _to_folder(self, number: int, what: steps.WhatToFolder) -> None:
        host = self.hosts[number]
        self._kill(host)  # whoever takes a folder away ends what runs in it
        folder, saved = host.pipelines, host.world.folder / "saved"
        match what:
            case "lose":
                shutil.rmtree(folder, ignore_errors=True)
            case "save":
                _copy(folder, saved)
            case "put back":
                _copy(saved, folder)
            case "copy":
                _copy(self.hosts[1 - number].pipelines, folder)

    def _happen(self, what: steps.WhatHappens) -> bool:
        """Returns whether it could happen."""
        engine, data = self.world.engine, self.world.dataset
        match what:
            case "another consumer":
                self.world.tenant.steal_delta()
            case "lose locks":
                self.truth.follows &= not self._is_anybody_at_work()
                engine.end_locks()
            case "back up":
                return self._back_up()
            case "put back":
                return self._put_back()
            case "empty the table" if self._rows_by_hand():
                self.world.query(f"DELETE FROM {data}.assignments WHERE id IS NOT NULL")
                self.truth.begin_anew({})
            case "drop a column" if rows := self._rows_by_hand():
                self.world.query(f"ALTER TABLE {data}.assignments DROP COLUMN comments")
                robbed = {id_: {**row, "comments": None} for id_, row in rows.items()}
                self.truth.begin_anew(robbed, by_hand=True)
                self.lacks_column = True
            case "drop the staging table" if engine.holds("assignments"):
                self.world.query(f"DROP TABLE IF EXISTS {data}_staging.assignments")
            case "lose seen ids" if engine.holds("sync_seen_ids"):
                self.world.query(f"DELETE FROM {data}.sync_seen_ids WHERE TRUE")
            case _:
                return False
        return True

    def _rows_by_hand(self) -> dict[int, Row]:
        """The rows, for somebody who changes them; nobody does it while a run is at work."""
        self._kill_all()
        return {} if self.lacks_column else self.world.seen()

    def _back_up(self) -> bool:
        self._kill_all()
        rows = self.truth.check_anytime()
        restore = self.world.engine.back_up()
        self.backup = (restore, rows) if restore else None
        return restore is not None

    def _put_back(self) -> bool:
        self._kill_all()
        if self.backup is None:
            return False
        restore, rows = self.backup
        restore()
        self.lacks_column = False
        self.truth.begin_anew(rows)
        return True

    # Runs.

    def _run(self, step: steps.Run) -> str:
        """Begins or goes on; the one run of a history at work, to its end, is in this process."""
        host = self.hosts[step.host]
        if self.lacks_column:
            # dlt adds the column before the merge fills it: a kill between the two is open.
            self._end_runs()
            step = replace(step, effects=None)
        others = [other for other in self.hosts if other is not host and other.run is not None]
        if host.run is None:
            host.knew_changes, host.is_alone = self.changes, True
        for other in others:
            other.is_alone = host.is_alone = False
        if host.run is None and step.effects is None and not others:
            return self._run_here(host, step)
        if host.run is None:
            host.run = SteppedRun(
                host.world, self._circumstances(host, step), **self._settings(step)
            )
        self._go_on(host.run, step)
        if host.run.exit_code is not None:
            code, host.run = host.run.exit_code, None
            return self._over(host, code, is_resumed=True)
        if step.dies:
            at = host.run.at
            self._kill(host)
            return f"killed {at or 'while it waits'}"
        return f"stands still {host.run.at or 'while it waits'}"

    def _run_here(self, host: Host, step: steps.Run) -> str:
        pipeline = host.world.pipeline()
        bookmark = read_bookmark(pipeline, "assignments")
        is_resumed = pipeline.has_pending_data or (
            step.max_pages is not None
            and (bookmark is None or bookmark.full_load_in_progress or bookmark.is_invalidated)
        )
        code = 0
        with self._circumstances(host, step).hold(), host.world.engine.kept_open():
            try:
                run_or_load(pipeline, self._settings(step))
            except (PipelineStepFailed, ProtimeError) as error:
                failure = explain(error)
                code = failure.exit_code
                assert code != 1, f"no message was written for this failure: {failure}"
        return self._over(host, code, is_resumed=is_resumed)

    def _go_on(self, run: SteppedRun, step: steps.Run) -> None:
        """To its end, to the effect that is meant, or until it waits for another run."""
        left = step.effects
        while run.exit_code is None:
            run.go_on(_PATIENCE_SECONDS)
            if not run.at:
                return
            if left is not None and (not step.counted or run.at == PLACES[step.counted]):
                if left == 0:
                    return
                left -= 1

    def _settings(self, step: steps.Run) -> dict[str, Any]:
        settings: dict[str, Any] = {**SETTINGS, "deletes": self.deletes, "lock_timeout": 1.0}
        if step.full_resync:
            settings["full_resync"] = True
        if step.max_pages is not None:
            settings["max_pages"] = step.max_pages
        return settings

    def _circumstances(self, host: Host, step: steps.Run) -> Circumstances:
        return Circumstances(host.clock_hours, step.package_pages and 1)

    def _over(self, host: Host, code: int, *, is_resumed: bool) -> str:
        """A run has come to its end; `is_resumed`: it need not have seen all by itself."""
        assert code in (0, 3, 4, 6), f"exit code {code}"
        if self._is_anybody_at_work():
            return f"run ended with {code}"
        self.truth.check_anytime()
        if code:
            return f"run ended with {code}"
        self.lacks_column = False
        self.truth.check_recorded(was_alone=host.is_alone)
        is_quiet = host.is_alone and host.knew_changes == self.changes
        if is_quiet and not is_resumed and self._is_complete(host):
            self.truth.check_complete(self._left_silently)
            counted["complete runs"] += 1
        return f"run ended with {code}"

    def _is_complete(self, host: Host) -> bool:
        bookmark = read_bookmark(host.world.pipeline(), "assignments")
        return bookmark is not None and not bookmark.full_load_in_progress

    @property
    def _left_silently(self) -> set[int]:
        return self.truth.left if self.history.behaviour.leaving == "silent" else set()

    def _kill(self, host: Host) -> None:
        if host.run is None:
            return
        others = [other for other in self.hosts if other is not host]
        if any(other.run is not None or other.pipelines.exists() for other in others):
            # What it has merged another one may merge too, with a time of its own.
            self.truth.follows &= host.run.at not in (
                "after merge statement",
                "after merge transaction",
                "before load record",
            )
        host.run.kill()
        host.run = None
        counted["kills"] += 1
        if not self._is_anybody_at_work():
            self.world.engine.end_locks()  # the server takes a moment to see that it is gone
            self.truth.check_anytime()

    def _kill_all(self) -> None:
        for host in self.hosts:
            self._kill(host)

    def _is_anybody_at_work(self) -> bool:
        return any(host.run is not None for host in self.hosts)

    # The end.

    def _end(self) -> None:
        """All is well at the end: no faults, and each host runs as its schedule says."""
        self._end_runs()
        self.world.tenant.faults.clear()
        used = [s.host for s in self.history.steps if isinstance(s, steps.Run | steps.Folder)]
        for number in range(max([0, *used]) + 1):
            self._recover(number)
        is_silent = self.history.behaviour.leaving == "silent"
        self._recover(0, full_resync=is_silent)
        self.truth.check_complete()
        self._recover(0)
        self.truth.check_complete()
        self.truth.check_verified()

    def _end_runs(self) -> None:
        """Lets all that stand still go on to their ends; one may wait for another."""
        deadline = time.monotonic() + 120
        while self._is_anybody_at_work():
            assert time.monotonic() < deadline, "a run never ends"
            for number, host in enumerate(self.hosts):
                if host.run is not None:
                    self._note("end", self._run(steps.Run(number)))

    def _recover(self, number: int, *, full_resync: bool = False) -> None:
        outcomes = []
        for _ in range(RUNS_TO_RECOVER):
            outcomes.append(self._run(steps.Run(number, full_resync=full_resync)))
            self._note("end", outcomes[-1])
            if outcomes[-1] == "run ended with 0":
                return
        raise AssertionError(f"no run succeeds any more: {outcomes}")


def _copy(source: Path, target: Path) -> None:
    """Makes a folder what another one is, if that is there."""
    if source.exists():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def behaviour_of(simulated: SimulatedBehaviour) -> Behaviour:
    """The demo tenant's switches for a simulated Protime."""
    return Behaviour(
        links_rereadable=simulated.links_rereadable,
        pages_rereadable=simulated.pages_rereadable,
        older_delta_dies=simulated.older_delta_dies,
        events="compacted" if simulated.compacted else "all",
        order="shuffled" if simulated.shuffled else "oldest_first",
        repeat_events=simulated.repeats,
        delete_payload=simulated.delete_payload,
        delete_version="same" if simulated.same_version else "new",
        leaving_window=simulated.leaving,
        page_overlap=1 if simulated.page_overlap else 0,
        empty_last_page=simulated.empty_pages,
        delta_page_size=simulated.delta_page_size or None,
        stale_continuation_status=410 if simulated.gone == 410 else 409,
    )


@contextmanager
def new_life(seed: int, folder: Path, engine: Engine) -> Iterator[Life]:
    """The history of a seed in a world of its own, in an empty folder and warehouse."""
    history = steps.make_history(seed)
    tenant = DemoTenant(
        rows=0,
        page_size=history.behaviour.page_size,
        behaviour=behaviour_of(history.behaviour),
    )
    with DemoServer(tenant) as server:
        variables = {**server.environment(), "DLT_DATA_DIR": str(folder / "dlt")}
        if history.in_two_files:
            variables["DATA_WRITER__FILE_MAX_ITEMS"] = "1"
        with mock.patch.dict(os.environ, variables):
            deletes: Literal["mark", "remove"] = "remove" if seed % 4 == 3 else "mark"
            yield Life(history, World(tenant, server, folder, engine), deletes)


def summary() -> str:
    """What was done, on a few lines."""
    head = ("histories", "steps", "complete runs", "kills")
    lines = [", ".join(f"{counted[name]:,} {name}" for name in head)]
    lines.append(", ".join(f"{n:,} {name}" for name, n in sorted(counted.items())))
    return "\n".join(lines)
