"""Hosts, their working folders, and a faithful model of what dlt does with them.

What is assumed of dlt 1.31, and the real test that shows it:

- A state is extracted with a package when it changed, and saved locally after the package; both
  commit together or not at all (`tests/system/test_histories.py`, kills at `extract commit` and
  `state save`).
- With packages pending, `pipeline.run(data)` loads them and extracts nothing
  (`tests/rules/test_packages.py`, `test_a_package_is_loaded_when_nothing_happened_since`).
- `pipeline.run` first takes the destination's newest state by the time of its load, unless the
  local one has a higher version (`test_a_clock_that_was_ahead_changes_nothing_for_later_runs`), and
  wipes a folder whose dataset does not exist (`tests/rules/test_switching.py`).
- A package creates and empties its staging table once, copies each file there once, unless it dies
  between the copy and its marker, and merges whatever the table holds
  (`test_a_package_is_discarded_when_others_rows_were_staged_since`, kills at `staging load` and
  `staging load's marker`).
- The state's row is written beside the merge, and counts only with the load's record (kills at
  `load record`).
- A missing staging table is created only for a schema that is not noted
  (`test_a_staging_table_that_somebody_changed_is_created_again`).
- A failed extraction leaves neither a package nor a changed state (`tests/rules/test_bookmark.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa

from protime_source.api.http import HttpClient
from protime_source.api.pages import Page
from protime_source.decode.arrow import TYPES
from protime_source.decode.soft_delete import Row
from protime_source.decode.tables import BatchBuilder, rechunk
from protime_source.errors import (
    AlreadyRunningError,
    ForbiddenError,
    ProtimeError,
    RefusedCollectionsError,
    VanishedRowsError,
    WarehouseError,
)
from protime_source.pipeline.discards import tables_with_rows
from protime_source.pipeline.hooks import OVERLAP
from protime_source.pipeline.load import load_all
from protime_source.pipeline.overlaps import find_unmerged, loads_since
from protime_source.pipeline.packages import (
    note_staged,
    rest_on,
    staged_with,
    state_hash,
    to_discard,
)
from protime_source.pipeline.states import restore_committed_state
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.clock import MonotonicClock
from protime_source.sync.context import CollectionContext, Limits, PageBatch, RunContext
from protime_source.sync.counts import Counts
from protime_source.sync.engine import CollectionSync
from protime_source.sync.prefetch import decode_pages
from protime_source.warehouse.ledger import DOUBTED_FOR, Silence
from protime_source.warehouse.staging import StagedRows, holds, holds_others
from tests.simulator.processes import Effects, Process
from tests.simulator.protime import COLLECTIONS, DECODERS, START, Protime
from tests.simulator.warehouse import (
    CommittedState,
    MergeFilter,
    RefusedError,
    State,
    StoredRows,
    Warehouse,
)

SOURCE, TABLE = "protime", "shifts"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SETTINGS = Settings(
    tenant="acme",
    client_id="id",
    client_secret="a-client-secret",
    start_date=str(START),
    collections=(TABLE,),
)
SETTINGS = {share: replace(_SETTINGS, max_vanished_share=share) for share in (0.3, 1.0)}
HTTP = HttpClient(_SETTINGS)
BUILDERS = {kind: BatchBuilder(each, {}) for kind, each in COLLECTIONS.items()}


class LoadFailedError(Exception):
    """dlt's load step has failed; its package stays."""


FAILURES = (ProtimeError, LoadFailedError)
"""What a run may fail with."""


@dataclass
class Package:
    """A load package that is extracted and not put away.

    Attributes:
        load_id: dlt's id of it.
        basis: The hash of the committed state that it rests on; empty when it names none.
        files: Its rows, in files.
        merge_filter: The filter of its last batch.
        state: The state that it commits, if that changed.
        before: The working folder's state before it.
        knew_table: Whether dlt's schema had the table before it.
        staged: What it puts into the staging tables.
        incomplete_tables: The tables whose rows it leaves out.
        met: What the staging tables held when it was received.
        refusals: How often the destination refused it.
        is_prepared: Whether it has created and emptied its staging table.
        copied: Which of its files dlt knows to be copied.
        is_state_copied: Whether dlt knows its state to be copied.
        is_merged: Whether dlt knows it to be merged.
    """

    load_id: str
    basis: str
    files: list[list[Row]]
    merge_filter: MergeFilter
    state: CommittedState | None
    before: State
    knew_table: bool
    staged: dict[str, StagedRows] = field(default_factory=dict)
    incomplete_tables: set[str] = field(default_factory=set)
    met: dict[str, StagedRows] = field(default_factory=dict)
    source: str = SOURCE
    refusals: int = 0
    is_prepared: bool = False
    copied: list[bool] = field(default_factory=list)
    is_state_copied: bool = False
    is_merged: bool = False

    def copy(self) -> Package:
        return replace(self, copied=list(self.copied))

    @property
    def copied_tables(self) -> Mapping[str, bool]:
        """As `PendingPackage.copied_tables`."""
        is_noted = TABLE in self.staged
        return {TABLE: all(self.copied)} if is_noted and any(self.copied) else {}

    def result(self, local: Any) -> str:
        """As `PendingPackage.result`."""
        return state_hash(self.state.state if self.state else local, self.source)

    @property
    def stage(self) -> str:
        """How far it is, in words."""
        if self.is_merged:
            return "merged"
        if any(self.copied):
            return "copied"
        return "prepared" if self.is_prepared else "extracted"


@dataclass
class Folder:
    """A working folder."""

    state: State = field(default_factory=lambda: {"_state_version": 0, "sources": {}})
    extracted_hash: bytes = b""
    knows_table: bool = False
    packages: list[Package] = field(default_factory=list)

    def copy(self) -> Folder:
        return replace(self, packages=[each.copy() for each in self.packages])

    @property
    def bookmark(self) -> Bookmark | None:
        return read_bookmark(self.state)


def read_bookmark(state: State | None) -> Bookmark | None:
    """The bookmark in a state."""
    resources = (state or {}).get("sources", {}).get(SOURCE, {}).get("resources", {})
    return Bookmark.read(resources.get(TABLE, {}))


@dataclass
class Host:
    """A machine with a clock and a working folder."""

    name: str
    folder: Folder = field(default_factory=Folder)
    clock: timedelta = timedelta()
    process: Process | None = None


@dataclass
class Site:
    """What all runs share.

    Attributes:
        effects: The time, and the process at work.
        protime: The tenant.
        warehouse: The warehouse.
        is_file: Whether it is DuckDB, whose file one process at a time writes to.
        max_vanished_share: The setting.
        in_two_files: Whether dlt writes the rows of a package into two files.
        batch_pages: Pages of a full load that are decoded together.
        merged: Called with the rows that a merge has written.
    """

    effects: Effects
    protime: Protime
    warehouse: Warehouse
    is_file: bool = False
    max_vanished_share: float = 1.0
    in_two_files: bool = False
    batch_pages: int = 1
    merged: Callable[[dict[int, Row]], None] = field(default=lambda _: None)


def writable(state: State) -> State:
    """A copy of a state, of which the resource's own part may be changed: a state never is."""
    source = state["sources"].get(SOURCE, {})
    resources = source.get("resources", {})
    resource = {TABLE: dict(resources.get(TABLE, {}))}
    return {**state, "sources": {SOURCE: {**source, "resources": {**resources, **resource}}}}


def version_hash(state: State) -> bytes:
    """Dlt's hash of a state: here all that it would make a hash of."""
    return msgspec.json.encode(state["sources"], order="sorted")


@dataclass
class Run:
    """A run of a host: `load`, or dlt's own `run` with a limit of pages.

    Attributes:
        host: The host.
        site: What all runs share.
        full_resync: Whether to load fully.
        package_pages: Pages of a full load in one package of `load`.
        max_pages: With it, one package by dlt's own `run`.
        counts: The counts of each package.
        was_discarded: Whether a package of an earlier run was thrown away.
    """

    host: Host
    site: Site
    full_resync: bool = False
    package_pages: int | None = None
    max_pages: int | None = None
    counts: list[Counts] = field(default_factory=list)
    was_discarded: bool = False
    overlapped: bool = False
    has_lock: bool = False
    has_ledger: bool = False
    run_id: object = field(default_factory=object)
    is_synced: bool = False
    newest: CommittedState | None = None
    silence: Silence = frozenset()
    context: RunContext = field(init=False)
    kept: dict[str, Iterator[Page]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.context = RunContext(
            SETTINGS[self.site.max_vanished_share],
            HTTP,
            Limits(self.package_pages if self.max_pages is None else self.max_pages),
            self.full_resync,
            stops_alone=self.max_pages is None,
        )

    def main(self) -> None:
        """All that the process does; a dead one leaves its rows in the ledger open."""
        try:
            self._main()
        except FAILURES:
            self._close_ledger()
            raise
        finally:
            self.release_lock()
        self._close_ledger()

    def _close_ledger(self) -> None:
        self.site.warehouse.running.discard(self.run_id)
        self.site.warehouse.silent.pop(self.run_id, None)

    def _main(self) -> None:
        if self.max_pages is not None:
            self.load_pending()
            self.run(extracts=True)
            self._check_overlap()
            return
        self.acquire_lock()
        self.load_pending()
        load_all(self, self.context)
        if self.context.guarded:
            raise next(iter(self.context.guarded.values()))
        if self.context.refusals:
            raise RefusedCollectionsError("refused", (TABLE,))

    # `protime_source.pipeline.load.Packages`, on which `load_all` works.

    def load(self, table_names: Sequence[str]) -> None:
        loaded = self.run(extracts=True)
        self._check_overlap()
        if not loaded:
            raise AlreadyRunningError("Another run changed the dataset.")

    def bookmarks(self, table_names: Sequence[str]) -> dict[str, Bookmark | None]:
        return dict.fromkeys(table_names, self.host.folder.bookmark)

    def invalidate(self, table_name: str) -> None:
        bookmark = self.host.folder.bookmark
        if bookmark is not None:
            state = writable(self.host.folder.state)
            bookmark.invalidated().write(state["sources"][SOURCE]["resources"][TABLE])
            load_id = f"{self.now().timestamp():.6f}"
            self._commit_package(state, {}, [], MergeFilter(None), load_id)
            self.load_pending()

    @property
    def advice(self) -> str:
        return ""

    # The destination.

    def touch(self, effect: str) -> None:
        """An effect on the warehouse, whose file another process may have open."""
        self.site.effects.effect(effect)
        if self.site.warehouse.file not in (None, self):
            raise WarehouseError("Another program has the file open.")

    def acquire_lock(self) -> None:
        if self.site.is_file or self.has_lock:
            return
        self.touch("acquire the lock")
        if self.site.warehouse.lock not in (None, self):
            raise AlreadyRunningError("Another run is at work.")
        self.site.warehouse.lock = self
        self.has_lock = True

    def release_lock(self) -> None:
        """The system does it for a dead process."""
        warehouse = self.site.warehouse
        if warehouse.lock is self:
            warehouse.lock = None
        if warehouse.file is self:
            warehouse.file = None

    def _check_overlap(self) -> None:
        if self.overlapped:
            raise AlreadyRunningError(OVERLAP)

    # dlt, and the hooks around it.

    def run(self, *, extracts: bool) -> bool:
        """Dlt's `run`; returns whether what was extracted is loaded."""
        folder = self.host.folder
        if folder.packages or folder.knows_table:
            self._begin()
            self._discard_edited()
        if not self.is_synced:
            self._sync_destination()
            self.is_synced = True
        if not folder.packages and extracts:
            self._extract()
            extracted = {each.load_id for each in folder.packages}
            self._load()
            return extracted <= set(self.site.warehouse.loads)
        self._load()
        return True

    def load_pending(self) -> None:
        """As `pipeline.recovery.load_pending`."""
        self._discard_outdated()
        self._discard_edited()
        folder = self.host.folder
        while pending := {each.load_id for each in folder.packages}:
            try:
                self.run(extracts=False)
            except LoadFailedError:
                if not self._discard_refused():
                    raise
                break
            if pending <= {each.load_id for each in folder.packages}:
                self._discard_all()

    def _sync_destination(self) -> None:
        self.touch("sync with the destination")
        folder, warehouse = self.host.folder, self.site.warehouse
        if not warehouse.schema_is_noted and warehouse.rows is None:
            self.host.folder.__dict__.update(Folder().__dict__)
        elif remote := warehouse.newest_by_time():
            is_newer = remote["_state_version"] >= folder.state["_state_version"]
            if is_newer and remote["_version_hash"] != folder.state.get("_version_hash"):
                self._return_to(remote)

    def _return_to(self, state: State) -> None:
        folder = self.host.folder
        folder.state = state
        folder.extracted_hash = version_hash(state)
        folder.knows_table = self.site.warehouse.rows is not None

    def _begin(self) -> None:
        """As `LoadHooks._begin`."""
        try:
            self.acquire_lock()
        except AlreadyRunningError:
            self._discard_all()
        else:
            self._discard_outdated()
            self._discard_refused()

    def _ours(self) -> list[Package]:
        return [package for package in self.host.folder.packages if package.basis]

    def _discard_outdated(self) -> None:
        if not (packages := self._ours()):
            return
        self.touch("read the committed state")
        committed: Any = self.site.warehouse.committed() or {}
        local: Any = self.host.folder.state
        discarded, _ = to_discard(packages, committed, local, self._read_staged)
        if discarded:
            self._discard(discarded)

    def _discard_edited(self) -> None:
        """As `pipeline.discards.discard_edited`."""
        if packages := self._ours():
            self.touch("read whether the table was edited")
            warehouse = self.site.warehouse
            committed: Any = warehouse.committed() or {}
            had_rows = any(tables_with_rows(committed, package) for package in packages)
            if had_rows and (warehouse.lacks_column or not warehouse.rows):
                if any(package.refusals for package in packages):
                    self._drop_staging_table()
                self._discard(packages)

    def _read_staged(self, names: Any) -> dict[str, StagedRows]:
        self.touch("read the staging table")
        return self.site.warehouse.staged_rows(names)

    def _discard_refused(self) -> bool:
        if not any(package.refusals > 1 for package in self._ours()):
            return False
        self._drop_staging_table()
        return self._discard_all()

    def _drop_staging_table(self) -> None:
        self.touch("drop the staging table")
        self.site.warehouse.staging = None
        self.touch("forget the schema")
        self.site.warehouse.schema_is_noted = False

    def _discard_all(self) -> bool:
        if packages := self._ours():
            self._discard(packages)
        return not self.host.folder.packages

    def _discard(self, packages: Sequence[Package]) -> None:
        """As `pipeline.packages.discard`."""
        self.touch("read the committed state")
        folder = self.host.folder
        committed = self.site.warehouse.committed()
        for package in packages:
            self.site.effects.effect("delete a package")
            folder.packages.remove(package)
        self.was_discarded = True
        self.site.effects.effect("restore the working folder")
        if committed:
            self._return_to(committed)
        else:
            folder.state, folder.knows_table = packages[0].before, packages[0].knew_table

    def _open_ledger(self) -> None:
        """As `pipeline.source._open_ledger`: a run without an end is looked at again."""
        warehouse = self.site.warehouse
        if self.has_ledger:
            return
        self.touch("open the ledger")
        found = set(warehouse.running)
        known = [run for run, at in warehouse.silent.items() if self.now() - at < DOUBTED_FOR]
        warehouse.silent |= dict.fromkeys(found, self.now())
        warehouse.running = {self.run_id}
        self.has_ledger = True
        silence: Silence = frozenset({"found"}) if found else frozenset()
        silence |= {"known"} if known else frozenset()
        self.silence = silence
        while silence:
            newest = self.newest
            self.touch("check the staging table for a run without an end")
            if newest is None:
                return
            held = warehouse.staged_rows(staged_with(None, newest.state, SOURCE))
            finding = find_unmerged(silence, newest.load_id, newest.state, SOURCE, held)
            if finding == "right":
                return
            self.touch("uncommit")
            warehouse.uncommit([newest.load_id], SOURCE, restarts=finding == "late")
            self.touch("empty the staging table that is not right")
            warehouse.staging = []
            self._read_newest()

    def _read_newest(self) -> None:
        """Reads the state that this run rests on."""
        self.touch("read the committed state")
        self.newest = self.site.warehouse.newest_commit()

    def _extract(self) -> None:
        """Dlt's extraction of the source, as `pipeline.source` does it for a collection."""
        folder, site = self.host.folder, self.site
        self.acquire_lock()
        self._read_newest()
        self._open_ledger()
        committed: Any = self.newest.state if self.newest else {}
        package: dict[str, Any] = {}
        load_id = f"{self.now().timestamp():.6f}"
        local: Any = writable(folder.state)
        self.touch("read what the staging table holds")
        held = {TABLE: StagedRows()} | site.warehouse.staged_rows([TABLE])
        noted = staged_with(None, committed, SOURCE)
        may_be_ahead = TABLE in noted and holds_others(noted, held)
        if may_be_ahead and self.silence:
            self.touch("empty the staging table of a dead run")
            site.warehouse.staging = []
            held = site.warehouse.staged_rows([TABLE])
        rest_on(committed, package, local, SOURCE, held)
        stored = StoredRows(site.warehouse, self)
        if stored.exists:
            self.touch("record the history")
            site.warehouse.record_history()
        state = local["sources"][SOURCE]["resources"][TABLE]
        if state:
            restore_committed_state(state, committed, local, SOURCE, TABLE)
        counts = Counts(TABLE)
        self.context.package[TABLE] = counts
        self.counts.append(counts)
        sync = self._sync(stored, state, counts, may_be_ahead=may_be_ahead)
        rows: list[Row] = []
        staged, merge_filter = StagedRows(), MergeFilter(None)
        try:
            for batch in rechunk(sync.batches(table_is_known=folder.knows_table)):
                if batch is None:
                    site.effects.effect("turn to other collections")
                else:
                    staged.add(batch)
                    rows += _rows(batch)
                    merge_filter = MergeFilter(sync.ignore_live_rows_before)
            leaves_out = counts.unchanged > 0
            note_staged(package, load_id, TABLE, staged, state, leaves_out=leaves_out)
        except VanishedRowsError as error:
            if not self.context.stops_alone:
                raise
            self.context.guarded[TABLE] = error
        except ForbiddenError as error:
            self.context.refusals[TABLE] = error
            if not self.context.stops_alone:
                raise
        counts.is_read = True
        self._commit_package(local, package, rows, merge_filter, load_id)

    def _commit_package(
        self,
        local: Any,
        package_state: dict[str, Any],
        rows: list[Row],
        merge_filter: MergeFilter,
        load_id: str,
    ) -> None:
        """The end of dlt's extraction: a package, then the state, then its normalization."""
        folder, document = self.host.folder, None
        hash_ = version_hash(local)
        if hash_ != local.get("_version_hash"):
            local["_state_version"] += 1
            local["_version_hash"] = hash_
        if hash_ != folder.extracted_hash:
            document = CommittedState(load_id, local["_state_version"], local)
        before, knew_table = folder.state, folder.knows_table
        if rows or document:
            middle = len(rows) // 2 if self.site.in_two_files else 0
            files = [file for file in (rows[:middle], rows[middle:]) if file]
            self.site.effects.effect("commit the extracted package")
            folder.packages.append(
                Package(
                    load_id,
                    package_state.get("protime_basis", {}).get("committed", ""),
                    files,
                    merge_filter,
                    document,
                    before,
                    knew_table,
                    _noted(package_state, "protime_staged"),
                    set(package_state.get("protime_left_out", ())),
                    _noted(package_state, "protime_met"),
                    copied=[False] * len(files),
                )
            )
        folder.knows_table = folder.knows_table or bool(rows)
        self.site.effects.effect("save the state")
        folder.state, folder.extracted_hash = local, hash_
        self.site.effects.effect("normalize")

    def _load(self) -> None:
        """Dlt's load step between our hooks."""
        folder, warehouse = self.host.folder, self.site.warehouse
        if not folder.packages:
            return
        self.touch("open the destination")
        if self.site.is_file:
            warehouse.file = self
        try:
            self._begin()
            packages = self._ours()
            self._record_history()
            load_ids = []
            try:
                for package in list(folder.packages):
                    self._load_package(package)
                    load_ids.append(package.load_id)
            except RefusedError as error:
                for package in self._ours()[:1]:
                    package.refusals += 1
                raise LoadFailedError from error
            if load_ids:
                self._check_loaded(packages, load_ids)
                self._record_history()
        finally:
            if warehouse.file is self:
                warehouse.file = None

    def _load_package(self, package: Package) -> None:
        warehouse, effects = self.site.warehouse, self.site.effects
        if not package.is_prepared:
            self.touch("update the schema")
            if package.files:  # dlt looks at the tables alone that the package has rows for
                if not warehouse.schema_is_noted:
                    warehouse.staging = warehouse.staging if warehouse.staging is not None else []
                    warehouse.rows = warehouse.rows if warehouse.rows is not None else {}
                    warehouse.schema_is_noted = True
                warehouse.lacks_column = False
                self.touch("empty the staging table")
                if warehouse.staging is None:
                    raise RefusedError
                warehouse.staging = []
            effects.effect("note the schema update")
            package.is_prepared = True
        if package.state and not package.is_state_copied:
            self.touch("copy the state")
            warehouse.states.append(package.state)
            effects.effect("mark the state's copy")
            package.is_state_copied = True
        for number, file in enumerate(package.files):
            if not package.copied[number]:
                self.touch("copy to the staging table")
                if warehouse.staging is None:
                    raise RefusedError
                warehouse.staging = [*warehouse.staging, *file]
                effects.effect("mark the copy")
                package.copied[number] = True
        if package.files and not package.is_merged:
            self.touch("merge")
            if warehouse.lacks_column:  # dropped after the schema was updated for the package
                raise RefusedError
            if warehouse.refusals:
                warehouse.refusals -= 1
                raise RefusedError
            self.site.merged(warehouse.merge(package.merge_filter))
            effects.effect("mark the merge")
            package.is_merged = True
        self.touch("write the load's record")
        warehouse.loads.append(package.load_id)
        effects.effect("put the package away")
        self.host.folder.packages.remove(package)

    def _check_loaded(self, packages: Sequence[Package], load_ids: list[str]) -> None:
        """As `LoadHooks._check_loaded`."""
        if not packages:
            return
        self.touch("read the states beside the load's")
        warehouse, first = self.site.warehouse, packages[0]
        others = loads_since(warehouse.states_beside(load_ids), first.basis, first.source)
        self.touch("check the staging table")
        staged = {
            name: rows for each in packages for name, rows in each.staged.items() if rows.count
        }
        held = warehouse.staged_rows(staged)
        if others or not holds(staged, held, dict.fromkeys(staged, True)):
            self.touch("uncommit")
            warehouse.uncommit([*load_ids, *others], SOURCE)
            self.overlapped = True

    def _record_history(self) -> None:
        self.touch("record the history")
        self.site.warehouse.record_history()

    # The engine.

    def now(self) -> datetime:
        """The host's time."""
        return self.site.effects.time + self.host.clock

    def effect(self, name: str) -> None:
        """The effects of `StoredRows` are on the warehouse."""
        self.touch(name)

    def _sync(
        self, stored: StoredRows, state: State, counts: Counts, *, may_be_ahead: bool
    ) -> CollectionSync:
        kind = self.site.protime.behaviour.kind
        return CollectionSync(
            CollectionContext(
                run=self.context,
                collection=COLLECTIONS[kind],
                pages=self,
                stored=stored,
                decoder=DECODERS[kind],
                builder=BUILDERS[kind],
                state=state,
                counts=counts,
                clock=MonotonicClock(self.now),
                may_be_ahead=may_be_ahead,
            )
        )

    @contextmanager
    def open_pages(self, link: str) -> Iterator[Iterator[Page]]:
        """As `PrefetchedPages`, without threads."""
        yield self.site.protime.iter_pages(link)

    @contextmanager
    def open_batches(self, link: str) -> Iterator[Iterator[PageBatch]]:
        """As `PrefetchedPages`: `load` requests a page after the limit for the next package."""
        decoder = DECODERS[self.site.protime.behaviour.kind].fast
        pages = self.kept.pop(link, None) or self.site.protime.iter_pages(link)
        pages = self._up_to_limit(pages)
        size = self.site.batch_pages
        yield (decode_pages(decoder, group) for group in iter(lambda: [*islice(pages, size)], []))

    def _up_to_limit(self, pages: Iterator[Page]) -> Iterator[Page]:
        for number, page in enumerate(pages, 1):
            if number == self.context.limits.max_pages and page.next_link:
                if self.max_pages is None:
                    self.kept[page.next_link] = _one_ahead(pages)
                yield page
                return
            yield page


def _one_ahead(pages: Iterator[Page]) -> Iterator[Page]:
    """Pages of which the first has been requested."""
    failure: ProtimeError | None = None
    first: list[Page] = []
    try:
        first = [next(pages)]
    except ProtimeError as error:
        failure = error

    def following() -> Iterator[Page]:
        if failure is not None:
            raise failure
        yield from first
        yield from pages

    return following()


def _noted(package_state: dict[str, Any], key: str) -> dict[str, StagedRows]:
    """As `PendingPackage._noted`."""
    return {name: StagedRows.from_json(each) for name, each in package_state.get(key, {}).items()}


def _rows(batch: pa.Table) -> Iterator[Row]:
    """The staged rows as the record decoder would give them; Arrow's own way is slow for times."""
    columns = [_values(batch[name]) for name in batch.column_names]
    return (dict(zip(batch.column_names, row, strict=True)) for row in zip(*columns, strict=True))


def _values(column: pa.ChunkedArray) -> list[Any]:
    if column.type == TYPES["timestamp"]:
        moments = (at for chunk in column.chunks for at in chunk.view(pa.int64()).to_pylist())
        return [None if at is None else EPOCH + timedelta(microseconds=at) for at in moments]
    values = list(column.to_pylist())
    return [day and str(day) for day in values] if column.type == TYPES["date"] else values
