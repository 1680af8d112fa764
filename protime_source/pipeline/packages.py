"""Load packages that are pending, and the committed state that each of them rests on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination.exceptions import DestinationException
from dlt.common.pipeline import TPipelineState, pipeline_state
from dlt.common.storages.load_package import PackageStorage, ParsedLoadJobFileName
from dlt.common.versioned_state import decompress_state, json_encode_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation, DestinationConnectionError
from dlt.pipeline.state_sync import mark_state_extracted

from protime_source.errors import causes
from protime_source.pipeline.states import (
    committed_state,
    last_committed,
    resource_states,
    uncommit,
)
from protime_source.warehouse.dialect import Client, client_of
from protime_source.warehouse.staging import StagedRows, holds, read_staged_rows

logger = logging.getLogger(__name__)

_BASIS = "protime_basis"
_REFUSALS = "protime_refusals"
_STAGED = "protime_staged"

_REFUSED = "the destination refused it twice. If it refuses the rows again, the error says why."

Snapshot = tuple[str | None, dict[str, str]]
"""A working folder's state and its schemas by name, as dlt writes them."""


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
        return _hash(decompress_state(document["state"]) if document else local, self.source)

    @property
    def staged(self) -> dict[str, StagedRows]:
        """The rows that it puts into the staging tables, by table."""
        stored = self.state.get(_STAGED, {})
        return {name: StagedRows.from_json(each) for name, each in stored.items()}

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


def rest_on(committed: TPipelineState | None) -> None:
    """Makes the package that is being extracted rest on a committed state.

    Args:
        committed: The state that the destination has; `None` when dlt keeps none there.
    """
    if committed is None:
        return
    source = dlt.current.source_schema().name
    package: Any = dlt.current.load_package_state()["state"]
    package[_BASIS] = {"source": source, "committed": _hash(committed, source)}
    # The highest version is the newest, so what this package commits must have a higher one.
    local, _ = pipeline_state(Container())
    local["_state_version"] = max(local["_state_version"], committed.get("_state_version", 0))


def note_staged(table_name: str, staged: StagedRows, state: dict[str, Any]) -> None:
    """Notes what the package that is being extracted puts into a staging table.

    Args:
        table_name: The table.
        staged: The rows.
        state: The resource's state, which the package commits.
    """
    package: Any = dlt.current.load_package_state()
    package["state"].setdefault(_STAGED, {})[table_name] = staged.to_json()
    state.pop(_STAGED, None)
    if staged.count:
        state[_STAGED] = {"load_id": package["load_id"], "rows": staged.to_json()}


def pending_packages(pipeline: dlt.Pipeline) -> Iterator[PendingPackage]:
    """Yields the pending packages of this source, oldest first; not those of other sources."""
    normalized = pipeline._get_load_storage().normalized_packages
    extracted = pipeline._get_normalize_storage().extracted_packages
    found = [(normalized, load_id) for load_id in pipeline.list_normalized_load_packages()]
    found += [(extracted, load_id) for load_id in pipeline.list_extracted_load_packages()]
    for storage, load_id in found:
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


def discard_refused(pipeline: dlt.Pipeline, patience_seconds: float) -> bool:
    """Throws away what the destination refused twice, and has the staging tables checked anew.

    dlt calls many an error transient that is not, so that the first refusal does not count.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long to wait for a DuckDB file that another program has open.

    Returns:
        Whether nothing is pending any more.
    """
    packages = list(pending_packages(pipeline))
    if not any(package.refusals > 1 for package in packages):
        return False
    sources = {package.source for package in packages}
    client = client_of(pipeline, patience_seconds)
    with client.sql_client as sql, sql.with_staging_dataset():
        versions = sql.make_qualified_table_name(client.schema.version_table_name)
        for source in sources:
            # dlt creates missing tables only for a version of the schema that is not noted there.
            with suppress(DatabaseUndefinedRelation):
                sql.execute_sql(f"DELETE FROM {versions} WHERE schema_name = %s", source)
    return discard_all(pipeline, patience_seconds, _REFUSED)


def discard_outdated(pipeline: dlt.Pipeline, patience_seconds: float) -> None:
    """Throws away pending packages that rest on another state than the destination has now.

    The warehouse was put back from a backup, or another working folder has gone on: loading such
    a package would move the bookmark past changes that the warehouse never got. Its rows are asked
    for again, from the bookmark in the destination. A package that was loaded in part rests on the
    same state still, and one that was loaded and not put away has committed its own: both are
    loaded to their end. But dlt does not copy into the staging tables again what it has copied: a
    package whose rows another run has replaced there is thrown away as well.

    Args:
        pipeline: The pipeline that they belong to.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
    """
    if not (packages := list(pending_packages(pipeline))):
        return
    client = client_of(pipeline, patience_seconds)
    committed = committed_state(pipeline, client)
    if committed is None:
        return
    outdated = [
        package
        for package in packages
        if _hash(committed, package.source) not in (package.basis, package.result(pipeline.state))
    ]
    if outdated:
        discard(
            pipeline,
            outdated,
            committed,
            "the warehouse has another state than it was received for: it was put back from a"
            " backup, or loaded from another working folder since.",
        )
        return
    for package in packages:
        copied = package.copied_tables
        if copied and package.basis == _hash(committed, package.source):
            held = read_staged_rows(client, copied)
            if not holds(package.staged, held, copied):
                reason = "another run has used the staging tables since its rows were copied there."
                discard(pipeline, packages, committed, reason)
                return


def is_merged(client: Client, staged: Mapping[str, StagedRows]) -> bool:
    """Whether what was just merged were the rows of a package: the staging tables hold them still.

    Args:
        client: A client of the destination.
        staged: The rows that the package put into the staging tables, by table.
    """
    held = read_staged_rows(client, staged)
    return holds(staged, held, dict.fromkeys(staged, True))


def take_back_unmerged(pipeline: dlt.Pipeline, client: Client) -> bool:
    """Takes back the newest state if the rows that it stands for may not be those merged with it.

    Each run looks at that after its load. This is for one that died before, or whose state another
    run must not rest on meanwhile. While the staging tables hold a package's rows, they are what
    was merged.

    Args:
        pipeline: The pipeline.
        client: A client of its destination.

    Returns:
        Whether the state before that one counts now.
    """
    if is_emptied_by_dlt() or not pipeline.config.restore_from_destination:
        return False
    load_id, state = last_committed(pipeline, client)
    staged = {
        table_name: StagedRows.from_json(each[_STAGED]["rows"])
        for table_name, each in resource_states(state, dlt.current.source_schema().name).items()
        if each.get(_STAGED, {}).get("load_id") == load_id
    }
    if is_merged(client, staged):
        return False
    uncommit(client, pipeline.pipeline_name, [load_id])
    logger.warning(
        "An earlier run ended without a word, and the staging tables no longer hold what it"
        " received: it may not be complete in the tables, and is fetched again."
    )
    return True


def is_emptied_by_dlt() -> bool:
    """Whether dlt is set to empty the staging tables itself after each load."""
    return bool(dlt.config.get("load.truncate_staging_dataset", bool))


def discard_all(pipeline: dlt.Pipeline, patience_seconds: float, reason: str) -> bool:
    """Throws away all pending packages of the source.

    Args:
        pipeline: The pipeline that they belong to.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
        reason: Why, as a sentence.

    Returns:
        Whether nothing is pending any more.
    """
    if packages := list(pending_packages(pipeline)):
        committed = committed_state(pipeline, client_of(pipeline, patience_seconds))
        discard(pipeline, packages, committed, reason)
    return not pipeline.has_pending_data


def discard(
    pipeline: dlt.Pipeline,
    packages: Sequence[PendingPackage],
    committed: TPipelineState | None,
    reason: str,
) -> None:
    """Deletes pending packages, and returns the working folder to the state before them.

    Args:
        pipeline: The pipeline that they belong to.
        packages: The packages; none to return to the committed state alone.
        committed: The state that the destination has; `None` when dlt keeps none there.
        reason: Why, as a sentence.
    """
    before = _committed_snapshot(pipeline, committed) if committed else None
    if packages:
        logger.warning(
            "What an earlier run received is thrown away (load package %s): %s No row is lost: all"
            " changes since the warehouse's state are fetched again.",
            ", ".join(package.load_id for package in packages),
            reason,
        )
        before = before or packages[0].snapshot()
        for package in packages:
            package.delete()
    if before is not None:
        pipeline._restore_from_snapshot(*before)


def _committed_snapshot(pipeline: dlt.Pipeline, committed: TPipelineState) -> Snapshot:
    """The committed state and its schemas, as dlt writes them into the working folder."""
    state = TPipelineState(**{**committed, "_local": pipeline.state["_local"]})
    mark_state_extracted(state, state["_version_hash"])
    names = state["schema_names"] or []
    schemas = pipeline._get_schemas_from_destination(names, always_download=True)
    texts = {schema.name: json.dumps(schema.to_dict()) for schema in schemas}
    return json_encode_state(state), texts


def _hash(state: Mapping[str, Any], source: str) -> str:
    """What the source remembers, of one of its states."""
    remembered = json.dumps(state.get("sources", {}).get(source, {}), sort_keys=True, default=str)
    return hashlib.sha256(remembered.encode()).hexdigest()[:16]
