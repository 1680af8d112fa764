"""Load packages that are pending, and the committed state that each of them rests on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import dlt
import msgspec
from dlt.common.destination.exceptions import DestinationException
from dlt.common.pipeline import TPipelineState
from dlt.common.storages.load_package import PackageStorage, ParsedLoadJobFileName
from dlt.common.versioned_state import decompress_state
from dlt.destinations.exceptions import DestinationConnectionError

from protime_source.errors import causes
from protime_source.pipeline.states import (
    STAGED,
    TAKEN_BACK,
    resource_states,
)
from protime_source.warehouse.staging import (
    StagedRows,
    holds,
)

logger = logging.getLogger(__name__)

_BASIS = "protime_basis"
_REFUSALS = "protime_refusals"
_LEFT_OUT = "protime_left_out"
_MET = "protime_met"

Snapshot = tuple[str | None, dict[str, str]]
"""A working folder's state and its schemas by name, as dlt writes them."""


class Package(Protocol):
    """What decides whether a pending load package may be loaded."""

    @property
    def basis(self) -> str:
        """The hash of the committed state that its rows were asked for with."""
        ...

    @property
    def source(self) -> str:
        """The source's name in dlt."""
        ...

    @property
    def staged(self) -> Mapping[str, StagedRows]:
        """The rows that it puts into the staging tables, by table."""
        ...

    @property
    def incomplete_tables(self) -> set[str]:
        """The tables that had rows of it when it was received, so that it leaves them out."""
        ...

    @property
    def met(self) -> Mapping[str, StagedRows]:
        """What the staging tables held when it was received, by table, as far as is known."""
        ...

    @property
    def copied_tables(self) -> Mapping[str, bool]:
        """The tables whose rows dlt has copied into the staging tables, and whether all of them."""
        ...

    def result(self, local: TPipelineState) -> str:
        """Returns the hash of the state that it commits, given the working folder's state."""
        ...


AnyPackage = TypeVar("AnyPackage", bound=Package)


@dataclass(frozen=True)
class PendingPackage:
    """A load package of the source that is extracted and not loaded yet.

    Attributes:
        storage: The folder that it lies in.
        load_id: dlt's id of it.
        state: dlt's state of the package.
    """

    storage: PackageStorage
    load_id: str
    state: Any

    @property
    def basis(self) -> str:
        """The hash of the committed state that its rows were asked for with."""
        return str(self.state[_BASIS]["committed"])

    @property
    def source(self) -> str:
        """The source's name in dlt."""
        return str(self.state[_BASIS]["source"])

    def result(self, local: TPipelineState) -> str:
        """Returns the hash of the state that it commits.

        Args:
            local: The working folder's state; a package without a state of its own commits it.
        """
        document = self.state.get("pipeline_state")
        return state_hash(decompress_state(document["state"]) if document else local, self.source)

    @property
    def staged(self) -> dict[str, StagedRows]:
        """The rows that it puts into the staging tables, by table."""
        return self._noted(STAGED)

    @property
    def met(self) -> dict[str, StagedRows]:
        """What the staging tables held when it was received, by table, as far as is known."""
        return self._noted(_MET)

    def _noted(self, key: str) -> dict[str, StagedRows]:
        return {name: StagedRows.from_json(each) for name, each in self.state.get(key, {}).items()}

    @property
    def incomplete_tables(self) -> set[str]:
        """The tables that had rows of it when it was received, so that it leaves them out."""
        return set(self.state.get(_LEFT_OUT, ()))

    @property
    def copied_tables(self) -> dict[str, bool]:
        """The tables whose rows dlt has copied into the staging tables, and whether all of them."""
        states: dict[str, set[bool]] = {}
        staged = self.staged
        for state, job in self.storage.list_all_jobs_with_states(self.load_id):
            if job.file_format != "sql" and job.table_name in staged:
                states.setdefault(job.table_name, set()).add(self._is_done(state, job))
        return {name: found == {True} for name, found in states.items() if True in found}

    def _is_done(self, state: str, job: ParsedLoadJobFileName) -> bool:
        """Whether dlt will not run a job again; a kill may leave it where the started ones are."""
        if state != PackageStorage.STARTED_JOBS_FOLDER:
            return state == PackageStorage.COMPLETED_JOBS_FOLDER
        outcome = self.storage.load_pending_transition(self.load_id, job.file_name())
        return outcome is not None and outcome[0] == "completed"

    @property
    def refusals(self) -> int:
        """How often the destination refused it."""
        return int(self.state.get(_REFUSALS, 0))

    def note_refusal(self) -> None:
        """Counts that the destination refused it."""
        self.state[_REFUSALS] = self.refusals + 1
        self.storage.save_load_package_state(self.load_id, self.state)

    def snapshot(self) -> Snapshot | None:
        """Returns the working folder's state and schemas before it, if dlt noted them."""
        if not self.storage.can_restore_pipeline_state(self.load_id):
            return None
        return self.storage.load_pipeline_state(self.load_id)

    def delete(self) -> None:
        """Deletes it."""
        self.storage.delete_package(self.load_id)


def rest_on(
    committed: TPipelineState | None,
    package: Any,
    local: TPipelineState,
    source: str,
    met: Mapping[str, StagedRows],
) -> None:
    """Makes the package that is being extracted rest on a committed state.

    Args:
        committed: The state that the destination has; `None` when dlt keeps none there.
        package: dlt's state of the package; changed in place.
        local: The working folder's state; changed in place.
        source: The source's name in dlt.
        met: What the staging tables hold, as far as is known.
    """
    if committed is None:
        return
    package[_BASIS] = {"source": source, "committed": state_hash(committed, source)}
    package[_MET] = {name: rows.to_json() for name, rows in met.items()}
    # The highest version is the newest, so what this package commits must have a higher one.
    local["_state_version"] = max(local["_state_version"], committed.get("_state_version", 0))


def note_staged(
    package: Any,
    load_id: str,
    table_name: str,
    staged: StagedRows,
    state: dict[str, Any],
    *,
    leaves_out: bool,
) -> None:
    """Notes what the package that is being extracted puts into a staging table.

    The note stays in the state until other rows follow: a collection without a delta has no
    bookmark that would tell the states before and after a load apart.

    Args:
        package: dlt's state of the package; changed in place.
        load_id: dlt's id of it.
        table_name: The table.
        staged: The rows.
        state: The resource's state, which the package commits; changed in place.
        leaves_out: Whether rows were received that it leaves out, because the table has them.
    """
    if leaves_out:
        package.setdefault(_LEFT_OUT, []).append(table_name)
    package.setdefault(STAGED, {})[table_name] = staged.to_json()
    if staged.count:
        state[STAGED] = {"load_id": load_id, "rows": staged.to_json()}


def staged_with(
    load_id: str | None, state: Mapping[str, Any], source: str
) -> dict[str, StagedRows]:
    """Returns the rows that a package put into the staging tables, by table.

    Args:
        load_id: dlt's id of the package; `None` for the last that put any there, and for no rows
            where none did, or what it did was taken back.
        state: The state that it has committed.
        source: The source's name in dlt.
    """
    staged = {}
    for table_name, resource in resource_states(state, source).items():
        noted = resource.get(STAGED)
        if not isinstance(noted, Mapping) or TAKEN_BACK in noted:
            noted = {"rows": StagedRows().to_json()}
        if load_id is None or load_id == noted.get("load_id"):
            staged[table_name] = StagedRows.from_json(noted["rows"])
    return staged


def pending_packages(pipeline: dlt.Pipeline) -> Iterator[PendingPackage]:
    """Yields the pending packages of this source, oldest first; not those of other sources."""
    normalized = pipeline._get_load_storage().normalized_packages
    extracted = pipeline._get_normalize_storage().extracted_packages
    for storage in (normalized, extracted):
        if not storage.storage.has_folder("."):
            continue  # no run was here yet
        for load_id in storage.list_packages():
            state: Any = storage.get_load_package_state(load_id)
            if _BASIS in state:
                yield PendingPackage(storage, load_id, state)


def note_failure(pipeline: dlt.Pipeline, error: BaseException | None) -> None:
    """Counts in the package that failed to load that the destination refused it.

    Args:
        pipeline: The pipeline that it belongs to.
        error: What the load raised; an unreachable destination has refused nothing.
    """
    chain = list(causes(error))
    is_refused = any(isinstance(cause, DestinationException) for cause in chain)
    if is_refused and not any(isinstance(cause, DestinationConnectionError) for cause in chain):
        for package in islice(pending_packages(pipeline), 1):
            package.note_refusal()


def to_discard(
    packages: Sequence[AnyPackage],
    committed: TPipelineState,
    local: TPipelineState,
    read_staged: Callable[[Collection[str]], Mapping[str, StagedRows]],
) -> tuple[Sequence[AnyPackage], str]:
    """Decides which pending packages must not be loaded.

    Those that rest on another state than the destination has now: the warehouse was put back from a
    backup, or another working folder has gone on. Loading such a package would move the bookmark
    past changes that the warehouse never got. Its rows are asked for again, from the bookmark in
    the destination. A package that was loaded in part rests on the same state still, and one that
    was loaded and not put away has committed its own: both are loaded to their end. But dlt does
    not copy into the staging tables again what it has copied: a package whose rows another run has
    replaced there must not be loaded either. Nor one that another run has copied rows there since:
    it may have merged them and died, and the package does not know those rows.

    Args:
        packages: The pending packages, oldest first.
        committed: The state that the destination has.
        local: The working folder's state.
        read_staged: Returns what the staging tables of some tables hold.

    Returns:
        The packages, and why, as a sentence.
    """
    outdated = [
        package
        for package in packages
        if state_hash(committed, package.source) not in (package.basis, package.result(local))
    ]
    if outdated:
        return outdated, (
            "the warehouse has another state than it was received for: it was put back from a"
            " backup, or loaded from another working folder since."
        )
    for package in packages:
        if package.basis != state_hash(committed, package.source):
            continue  # it is merged
        copied = package.copied_tables
        held = read_staged(copied.keys() | package.met.keys())
        if not holds(package.staged, held, copied):
            return packages, (
                "another run has used the staging tables since its rows were copied there."
            )
        if any(_holds_others(package, name, held) for name in package.met.keys() - copied.keys()):
            return packages, "another run has used the staging tables since it was received."
    return [], ""


def _holds_others(package: Package, table_name: str, held: Mapping[str, StagedRows]) -> bool:
    """Whether a staging table holds neither what a package met there nor rows of its own.

    It may have its own before dlt knows that they were copied.
    """
    found = held.get(table_name, StagedRows())
    own = package.staged.get(table_name, StagedRows())
    is_own = not found.count or (own.count > 0 and own.may_be(found, whole=False))
    return not is_own and found != package.met[table_name]


def state_hash(state: Mapping[str, Any], source: str) -> str:
    """Returns a hash of what a source remembers in one of its states."""
    found = state.get("sources", {}).get(source, {})
    remembered = msgspec.json.encode(found, enc_hook=str, order="sorted")
    return hashlib.sha256(remembered).hexdigest()[:16]
