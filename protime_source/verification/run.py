"""A whole verification: look, load what changed in between, look again at what differs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dlt

from protime_source.api.http import ApiSession, HttpClient
from protime_source.catalogue.model import Collection
from protime_source.configuration import ConfigSections
from protime_source.errors import ApiError, BadRequestError, SettingsError
from protime_source.pipeline.data_model import column_hints
from protime_source.pipeline.guards import check_tenant
from protime_source.pipeline.load import load
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.source import REFUSALS
from protime_source.pipeline.states import (
    NAME,
    committed_state,
    read_bookmark,
    resource_states,
    stored_states,
)
from protime_source.pipeline.table_guards import check_columns
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.verification.compare import Differences, unchanged_ids
from protime_source.verification.look import Look, Looker
from protime_source.verification.report import TableReport, VerifyReport, table_report
from protime_source.warehouse.dialect import client_of, dialect_of
from protime_source.warehouse.table import StoredTable, refuse_pending

NO_TABLE = "The table does not exist. Run the pipeline: it loads everything."
NOT_COMPLETE = "A full load of it is not complete. Run the pipeline, which completes it."
NOT_CAUGHT_UP = "What changed since the last run counts as a difference: catch_up was false."
NO_DELTA = (
    "Protime offers no delta for it, so what changed since the last run counts as a difference."
    " Run the pipeline, then verify at once."
)
FULL_LOAD = (
    "The run in between did a full load. These are the differences before it, among which may be"
    " changes since the last run."
)
MENDED = "None of them is left after it."


def verify(
    pipeline: dlt.Pipeline,
    *collections: str,
    deep: bool = False,
    catch_up: bool = True,
    **settings: Any,
) -> VerifyReport:
    """Compares the warehouse with Protime's plain lists, and changes neither it nor the delta.

    What differs at first is looked at again after `load` has brought the changes of the
    collections concerned: a change in between is no difference. That is a run like any other, and
    the only thing that moves the bookmark.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.
        *collections: What to compare; by the setting `collections` when nothing is named.
        deep: Compare every documented column, not only ids and versions.
        catch_up: Whether to load before looking again; if not, changes since the last run count
            as differences.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Returns:
        What was found; `print` it.

    Raises:
        PipelineStepFailed: When the run in between fails; `explain` says why.
        ApiError: When Protime gives no usable answer.
        SettingsError: When a setting is missing or wrong.
        WarehouseError: When the destination is not usable, or holds another tenant's rows.
        AlreadyRunningError: When a run of the pipeline is at work.
    """
    started = time.monotonic()
    if collections:
        settings["collections"] = collections
    sections = ConfigSections(pipeline_name=pipeline.pipeline_name)
    resolved = Settings.from_config(sections=sections, **settings)
    with one_run(pipeline.working_dir), HttpClient(resolved) as http:
        refuse_pending(pipeline)
        verification = _Verification(pipeline, resolved, http, deep=deep)
        for table in resolved.collections:
            verification.look(table)
        if due := verification.tables_to_catch_up() if catch_up else []:
            load(pipeline, **{**settings, "collections": due})
        reports = {table: verification.report(table, due) for table in resolved.collections}
        return VerifyReport(
            tables=reports,
            deep=deep,
            requests=verification.requests,
            seconds=time.monotonic() - started,
        )


@dataclass
class _First:
    """The first look at a collection, and what the second one needs."""

    looker: Looker
    session: ApiSession
    look: Look
    bookmark: Bookmark | None
    has_table: bool
    has_delta: bool

    @property
    def can_catch_up(self) -> bool:
        """Whether a run would bring the changes alone, and not everything."""
        bookmark = self.bookmark
        is_complete = bookmark is not None and not bookmark.full_load_in_progress
        return self.has_table and self.has_delta and is_complete

    @property
    def why_not_caught_up(self) -> str:
        """Why no run brought the changes before the second look."""
        if self.can_catch_up:
            return NOT_CAUGHT_UP
        return NOT_COMPLETE if self.has_delta else NO_DELTA


class _Verification:
    """The looks at all collections."""

    def __init__(
        self, pipeline: dlt.Pipeline, settings: Settings, http: HttpClient, *, deep: bool
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._http = http
        self._deep = deep
        self._dialect = dialect_of(pipeline)
        self._client = client_of(pipeline)
        self._dialect.check(self._client)
        state = committed_state(pipeline, stored_states(self._client)) or pipeline.state
        self._states = resource_states(state, NAME)
        check_tenant(settings, self._states)
        self._sessions: list[ApiSession] = []
        self._first: dict[str, _First] = {}
        self._not_compared: dict[str, str] = {}

    @property
    def requests(self) -> int:
        """Requests so far."""
        return sum(session.request_count for session in self._sessions)

    def look(self, table: str) -> None:
        """Looks at a collection for the first time."""
        collection = self._settings.collection(table)
        if not collection.path_parameters:
            raise SettingsError(
                f"{table} needs the setting activity_structures: the GUID of a structure version,"
                " which stands in the configuration of myProtime, and a level. Nothing was"
                " compared."
            )
        bookmark = Bookmark.read(self._states.get(table, {}))
        stored = self._stored_table(collection)
        start = None
        if collection.date_column:
            # The window of a delta does not slide, so the bookmark's may begin before today's.
            start = bookmark.window_start if bookmark else None
            start = start or self._settings.window_start()
        looker = Looker(collection, stored, self._client, start, deep=self._deep)
        for scope in collection.read_scopes:
            session = self._http.session([scope])
            self._sessions.append(session)
            try:
                with self._dialect.kept_open(self._client):
                    look = looker.look(session)
            except (*REFUSALS, BadRequestError) as error:
                self._not_compared[table] = _reason(collection, error)
                continue
            self._not_compared.pop(table, None)
            self._first[table] = _First(
                looker, session, look, bookmark, stored.exists, collection.has_delta
            )
            return

    def tables_to_catch_up(self) -> list[str]:
        """The tables that differ and whose changes a run can bring."""
        return [
            table
            for table, first in self._first.items()
            if len(first.look.differences.ids) and first.can_catch_up
        ]

    def report(self, table: str, caught_up: Iterable[str]) -> TableReport:
        """Returns what was found, after a second look at what differed.

        Args:
            table: The table.
            caught_up: The tables that were loaded since the first look.
        """
        if table in self._not_compared:
            return TableReport(not_compared=self._not_compared[table])
        first = self._first[table]
        differences, notes, is_mended = first.look.differences, list(_notes_on(first.look)), False
        if not len(differences.ids):
            pass
        elif not first.has_table:
            notes.append(NO_TABLE)
        elif table in caught_up and self._was_loaded_fully(table, first):
            left = len(self._second_look(first)[0].ids)
            is_mended = not left
            notes.append(f"{FULL_LOAD} {MENDED if is_mended else f'Left after it: {left:,}.'}")
        else:
            differences, changing = self._second_look(first)
            if changing:
                records = "1 record" if changing == 1 else f"{changing:,} records"
                notes.append(f"{records} changed in Protime between two looks: not counted.")
            if len(differences.ids) and table not in caught_up:
                notes.append(first.why_not_caught_up)
        return table_report(first.look.compared, differences, tuple(notes), is_mended=is_mended)

    def _second_look(self, first: _First) -> tuple[Differences, int]:
        """What still differs, and how many records changed between the looks."""
        with self._dialect.kept_open(self._client):
            second = first.looker.look(first.session, only=first.look.differences.ids)
        ids = second.differences.ids
        unchanged = unchanged_ids(ids, first.look.shown, second.shown)
        return second.differences.only(unchanged), len(ids) - len(unchanged)

    def _was_loaded_fully(self, table: str, first: _First) -> bool:
        after = read_bookmark(self._pipeline, table)
        before = first.bookmark
        return _started_at(after) != _started_at(before)

    def _stored_table(self, collection: Collection) -> StoredTable:
        stored = StoredTable(
            self._pipeline,
            self._client,
            collection.table,
            column_hints(collection, self._settings),
            excluded=frozenset(),
            is_emptied=False,
            has_history=False,
        )
        check_columns(stored, collection)
        return stored


def _started_at(bookmark: Bookmark | None) -> str:
    return bookmark.full_load_started_at if bookmark else ""


def _reason(collection: Collection, error: ApiError) -> str:
    scopes = " or ".join(collection.read_scopes)
    return f"Not compared, because Protime refuses its list: {error} Its scope is {scopes}."


def _notes_on(look: Look) -> Iterable[str]:
    if look.refused_records:
        yield (
            f"{look.refused_records:,} records were left out, because their id does not fit into 64"
            " bits. The warehouse has no row for them."
        )
