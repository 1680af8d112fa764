"""What happens before and after each of dlt's loads, and after each run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.pipeline import SupportsPipeline
from dlt.common.schema.typing import TTableSchema
from dlt.pipeline import trace

from protime_source.api.redaction import RedactingFilter, redact, redact_error, redacted
from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import Collection
from protime_source.configuration import ConfigSections
from protime_source.errors import AlreadyRunningError, PublishError, SettingsError
from protime_source.models.views import ModelOutcome, ensure_models
from protime_source.pipeline.data_model import MODELS_HINT, comments_of
from protime_source.pipeline.discards import (
    discard_all,
    discard_edited,
    discard_outdated,
    discard_refused,
)
from protime_source.pipeline.folder import (
    advice_on_damage,
    forget_loaded_packages,
    remove_unfinished,
)
from protime_source.pipeline.lock import (
    keep_open,
    let_readers_in,
    one_run,
    one_run_on_dataset,
    run_client,
    wait_until_free,
)
from protime_source.pipeline.overlaps import loads_to_take_back, take_back
from protime_source.pipeline.packages import (
    PendingPackage,
    note_failure,
    pending_packages,
)
from protime_source.pipeline.publishing import publish
from protime_source.pipeline.states import NAME
from protime_source.pipeline.waits import bounded_waits
from protime_source.settings import Settings
from protime_source.sync.context import RunContext
from protime_source.warehouse import ledger
from protime_source.warehouse.dialect import Client, Dialect, advice_on, dialect_of
from protime_source.warehouse.history import History
from protime_source.warehouse.views import ensure_views

logger = logging.getLogger(__name__)

_UNKNOWN_ERROR = "Loading into the destination failed; the log says more."

OVERLAP = (
    "Another run was at work while this one loaded, although only one may be:"
    " the connection that held the lock was lost, or its lease was taken over. What this run"
    " received is not complete in the tables, so the next run fetches it again."
)

HISTORY_HINT = "x-protime-history"
"""A table's hint in dlt's schema: whether each version of its rows is kept."""


class LoadHooks:
    """dlt calls these (`SupportsTracking`) around each load, also that of a pending package.

    A resource cannot do it: when it runs for the first time, the table does not exist yet, and
    when its load begins, the resource has ended.

    Args:
        schema: dlt's name of the source's schema.
        collections: The collections whose views to keep.
    """

    def __init__(self, schema: str, *collections: Collection) -> None:
        self._schema = schema
        self._collections = collections
        self._loads: dict[int, Client] = {}
        self._packages: dict[int, list[PendingPackage]] = {}
        self._overlapped: set[tuple[str, int]] = set()
        self._locks: dict[tuple[str, int], ExitStack] = {}
        self._patience: dict[tuple[str, int], float] = {}
        self._waits: dict[tuple[str, int], ExitStack] = {}
        self._runs: dict[tuple[str, int], list[RunContext]] = {}

    def register(self) -> None:
        """Makes dlt call these hooks, in place of those of an earlier import; once."""
        others = [each for each in trace.TRACKING_MODULES if not _are_ours(each)]
        trace.TRACKING_MODULES[:] = [*others, self]

    def acquire_lock(self, pipeline: dlt.Pipeline, patience_seconds: float) -> None:
        """Acquires the locks of the pipeline and its dataset until the end of dlt's run.

        Args:
            pipeline: The pipeline.
            patience_seconds: How long to wait for a DuckDB file that another program has open.

        Raises:
            AlreadyRunningError: When another run holds one of them.
        """
        key = (pipeline.working_dir, get_ident())
        if key not in self._locks:
            with ExitStack() as locks:
                locks.enter_context(one_run_on_dataset(pipeline, patience_seconds))
                self._locks[key] = locks.pop_all()
        self._patience[key] = patience_seconds

    def bound_waits(self, pipeline: dlt.Pipeline) -> None:
        """Bounds the waits in the destination until the end of dlt's run."""
        key = (pipeline.working_dir, get_ident())
        if key not in self._waits:
            stack = self._waits[key] = ExitStack()
            stack.enter_context(bounded_waits(pipeline))

    def close_ledger_after(self, pipeline: dlt.Pipeline, run: RunContext) -> None:
        """Closes the ledger's rows of a run when dlt's run of the pipeline has ended."""
        self._runs.setdefault((pipeline.working_dir, get_ident()), []).append(run)

    def on_start_trace(self, *_: Any) -> None:
        """Does nothing."""

    def on_start_trace_step(self, trace: Any, step: str, pipeline: SupportsPipeline) -> None:
        """Before a run or a load: discards outdated packages. Before a load: opens the destination.

        Nothing may be raised here, because dlt would only log it and go on.
        """
        if not isinstance(pipeline, dlt.Pipeline) or pipeline.destination is None:
            return
        is_ours = self._schema in pipeline.schemas or any(pending_packages(pipeline))
        has_load = bool(pipeline.list_normalized_load_packages())
        if not is_ours or not (step == "run" or (step == "load" and has_load)):
            return
        patience = self._patience.get((pipeline.working_dir, get_ident()))
        if patience is None:
            patience = _patience(pipeline)
        if step == "load":
            self.bound_waits(pipeline)
        self._begin(pipeline, step, patience)
        if step == "load":
            self._loads[id(pipeline)] = run_client(pipeline, patience)
            self._packages[id(pipeline)] = list(pending_packages(pipeline))
            # A run that died after its load has not recorded what this load may overwrite.
            self._record_history(pipeline, self._loads[id(pipeline)], self._loaded_tables(pipeline))

    def _begin(self, pipeline: dlt.Pipeline, step: str, patience_seconds: float) -> None:
        """Acquires the locks if it can, and lets what is pending be loaded only onto its basis."""
        waits = dialect_of(pipeline).is_file or any(pending_packages(pipeline))
        try:
            with one_run(pipeline.working_dir, patience_seconds if waits else 0):
                try:
                    self.acquire_lock(pipeline, patience_seconds)
                except AlreadyRunningError as error:
                    # The other run moves the dataset on; this one is refused when it extracts.
                    discard_all(pipeline, patience_seconds, str(error))
                else:
                    if step == "load":
                        keep_open(pipeline)
                    else:
                        wait_until_free(pipeline)
                    discard_outdated(pipeline, patience_seconds)
                    discard_refused(pipeline, patience_seconds)
                    if step == "run":  # a package of this run was received for the table as it is
                        discard_edited(pipeline, patience_seconds)
                        remove_unfinished(pipeline.working_dir)
        except AlreadyRunningError as error:
            logger.info("%s", error)

    def on_end_trace_step(
        self,
        trace: Any,
        step: Any,
        pipeline: SupportsPipeline,
        step_info: Any,
        send_state: bool,
    ) -> None:
        """After a load: creates missing indexes and views, records versions, and comments."""
        if not isinstance(pipeline, dlt.Pipeline) or step.step != "load":
            return
        if id(pipeline) in self._loads:
            client = self._loads.pop(id(pipeline))
            packages = self._packages.pop(id(pipeline), [])
            if step.step_exception:
                note_failure(pipeline, sys.exception())
            elif step_info.loads_ids:
                self._check_loaded(pipeline, client, packages, step_info.loads_ids)
                self._complete_tables(pipeline, client)
                for run in self._runs.get((pipeline.working_dir, get_ident()), ()):
                    run.package_loaded()
                self._write_comments(pipeline, client, step_info)
                forget_loaded_packages(pipeline)

    def was_overlapped(self, pipeline: dlt.Pipeline) -> bool:
        """Returns once whether another run interfered with the last load of a pipeline."""
        key = (pipeline.working_dir, get_ident())
        was_overlapped = key in self._overlapped
        self._overlapped.discard(key)
        return was_overlapped

    def _check_loaded(
        self,
        pipeline: dlt.Pipeline,
        client: Client,
        packages: list[PendingPackage],
        load_ids: list[str],
    ) -> None:
        """Takes back what was committed while another run was at work."""
        with _warning("What was merged could not be checked:"):
            if found := loads_to_take_back(client, pipeline.pipeline_name, packages, load_ids):
                take_back(client, pipeline.pipeline_name, found, packages[0].source)
                logger.error("%s", OVERLAP)
                key = (pipeline.working_dir, get_ident())
                self._overlapped.add(key)
                tables = {name for package in packages for name in package.staged}
                for run in self._runs.get(key, ()):
                    run.errors |= dict.fromkeys(tables, OVERLAP)

    def on_end_trace(self, trace: Any, pipeline: SupportsPipeline, send_state: bool) -> None:
        """After a run: redacts its errors, closes its ledger, publishes, releases its lock.

        dlt saves the trace after this, and raises the error of the run.
        """
        _redact_trace(trace)
        if isinstance(pipeline, dlt.Pipeline):
            _explain_damage(trace, pipeline)
            self._close_ledgers(trace, pipeline)
            key = (pipeline.working_dir, get_ident())
            self._patience.pop(key, None)
            for held in (self._waits, self._locks):
                held.pop(key, ExitStack()).close()

    def _close_ledgers(self, trace: Any, pipeline: dlt.Pipeline) -> None:
        failed = [step.step_exception for step in trace.steps if step.step_exception]
        if not failed and not any(step.step == "load" for step in trace.steps):
            return  # only extracted: the load is still to come
        for run in self._runs.pop((pipeline.working_dir, get_ident()), ()):
            if run.ledger is not None:
                if failed:
                    let_readers_in(pipeline)  # a connection that is lost would lose this too
                    reason = advice_on(failed[0]) or _UNKNOWN_ERROR
                    reason = next(iter(run.errors.values()), reason)
                    run.errors = dict.fromkeys(run.ledger.table_names, reason) | run.errors
                run.ledger.close(run)
            if not failed:
                let_readers_in(pipeline)
                try:
                    publish(pipeline, run.settings)
                except PublishError as error:  # dlt would only log it, with a stack trace
                    logger.error("%s", error)

    def _complete_tables(self, pipeline: dlt.Pipeline, client: Client) -> None:
        loaded, dialect = self._loaded_tables(pipeline), dialect_of(pipeline)
        with client.sql_client as sql:
            for collection in self._collections:
                if collection.table in loaded:
                    with _warning(f"{collection.table}: its index or view could not be created:"):
                        ensure_views(sql, dialect, collection)
        self._record_history(pipeline, client, loaded)
        if any(table.get(MODELS_HINT) for table in loaded.values()):
            with _warning("The models could not be created:"), client.sql_client as sql:
                for each in ensure_models(sql, dialect):
                    _log_model(each)

    def _write_comments(self, pipeline: dlt.Pipeline, client: Client, load_info: Any) -> None:
        """Only for tables that got rows, so that a run without changes does not even look."""
        metrics = (each for package in load_info.metrics.values() for each in package)
        got_rows = {job.table_name for each in metrics for job in each["job_metrics"].values()}
        if tables := got_rows & COLLECTIONS.keys():
            comments = comments_of(pipeline.schemas[self._schema], tables | {ledger.TABLE})
            with _warning("The comments could not be written:"), client.sql_client as sql:
                dialect_of(pipeline).write_comments(sql, comments)

    def _record_history(
        self, pipeline: dlt.Pipeline, client: Client, tables: Mapping[str, TTableSchema]
    ) -> None:
        dialect = dialect_of(pipeline)
        for name, table in tables.items():
            if table.get(HISTORY_HINT):
                with _warning(f"{name}: its history could not be written:"):
                    record_history(client, dialect, table)

    def _loaded_tables(self, pipeline: dlt.Pipeline) -> dict[str, TTableSchema]:
        tables = pipeline.schemas[self._schema].data_tables(seen_data_only=True)
        return {str(table["name"]): table for table in tables}


def _patience(pipeline: dlt.Pipeline) -> float:
    """The setting `lock_timeout`, as far as the settings can be read."""
    sections = ConfigSections(pipeline_name=pipeline.pipeline_name)
    try:
        return Settings.from_config(complete=False, sections=sections).lock_timeout
    except SettingsError:
        return Settings.lock_timeout


def record_history(client: Client, dialect: Dialect, table: TTableSchema) -> None:
    """Records the versions of a table that are not in its history yet.

    Args:
        client: A client of the destination.
        dialect: The destination's.
        table: dlt's schema of the table.

    Raises:
        DestinationException: When the destination refuses.
    """
    with client.sql_client:
        with_removed = bool(table["columns"]["is_deleted"].get("hard_delete"))
        History(client, dialect, table).record(with_removed=with_removed)


@contextmanager
def _warning(problem: str) -> Iterator[None]:
    """The rows are loaded and right, so what fails after them is no reason to fail the run."""
    try:
        yield
    except DestinationException as error:
        text = " ".join(redact(str(error)).split())
        logger.warning("%s %s The next run tries again.", problem, text)


def _log_model(model: ModelOutcome) -> None:
    """A run says what changed; that a model lacks a table is for `protime models` to say."""
    if model.outcome == "failed":
        logger.warning("The model %s could not be created: %s", model.name, model.text)
    elif model.outcome == "dropped":
        logger.info("model %s: dropped, because it needs %s", model.name, model.text)
    elif model.outcome in ("created", "replaced"):
        logger.info("model %s: %s", model.name, model.outcome)


def _redact_trace(trace: Any) -> None:
    """A driver that cannot connect may repeat what it was given, password included."""
    if any(step.step_exception for step in trace.steps):
        redact_error(sys.exception())
    trace.steps[:] = [
        step._replace(
            step_exception=redacted(step.step_exception),
            exception_traces=redacted(step.exception_traces),
        )
        for step in trace.steps
    ]


def _explain_damage(trace: Any, pipeline: dlt.Pipeline) -> None:
    """Adds a note to an error of dlt that only says that some text is no JSON."""
    error = sys.exception()
    if error is None or not any(step.step_exception for step in trace.steps):
        return
    if advice := advice_on_damage(pipeline.working_dir):
        error.add_note(advice)


def _are_ours(hooks: object) -> bool:
    """Also those of a module that was reloaded since."""
    kind = type(hooks)
    return (kind.__module__, kind.__qualname__) == (LoadHooks.__module__, LoadHooks.__qualname__)


class _TypeDifferenceFilter(logging.Filter):
    """Drops dlt's warning that JSON text goes into a json column, because it is meant to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps all other records."""
        text = record.getMessage()
        return not (
            "when merging arrow schema with dlt schema" in text
            and any(f"resource: {table}," in text for table in COLLECTIONS)
        )


HOOKS = LoadHooks(NAME, *COLLECTIONS.values())
_FILTERS = (_TypeDifferenceFilter(), RedactingFilter())


def register() -> None:
    """Tells dlt what to do around its loads; called when a source is made or a run begins."""
    HOOKS.register()
    for each in _FILTERS:
        logging.getLogger("dlt").addFilter(each)
