"""Says what is right and what is wrong before the first row; changes nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import dlt

from protime_source.catalogue import COLLECTIONS
from protime_source.configuration import SECRETS, ConfigSections, find_typos
from protime_source.errors import ApiError, SettingsError, WarehouseError
from protime_source.operations.access import AccessCheck
from protime_source.operations.lines import CheckLine
from protime_source.pipeline import guards
from protime_source.pipeline.failures import explain
from protime_source.pipeline.publishing import check_publishing, copy_path
from protime_source.pipeline.states import (
    NAME,
    committed_state,
    other_states,
    resource_states,
    stored_states,
)
from protime_source.pipeline.text import wrap
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of

LOW_DISK_BYTES = 2**30
"""Free space below which `check` warns."""

_ORDER = (SettingsError.exit_code, WarehouseError.exit_code, ApiError.exit_code)
"""The exit codes in the order in which a run would fail."""


@dataclass(frozen=True)
class Check:
    """What was checked.

    Attributes:
        lines: One for each thing.
    """

    lines: tuple[CheckLine, ...]

    @property
    def problems(self) -> tuple[CheckLine, ...]:
        """What would fail a run, or keep it from loading all collections."""
        return tuple(line for line in self.lines if line.outcome == "problem")

    @property
    def exit_code(self) -> int:
        """The exit code that a run would have; 0 without a problem."""
        codes = {line.exit_code for line in self.problems}
        return next((code for code in _ORDER if code in codes), max(codes, default=0))

    def __str__(self) -> str:
        """Returns a line for each thing."""
        width = max((len(line.name) for line in self.lines), default=0)
        lines = []
        for line in self.lines:
            head = f"{line.outcome:<7}  {line.name:<{width}}  "
            lines += wrap(f"{head}{line.text}", " " * len(head))
        count = len(self.problems)
        problems = (
            "No problem." if not count else "1 problem." if count == 1 else f"{count} problems."
        )
        return "\n".join([*lines, "", f"{problems} Nothing was changed, and no delta was started."])


def check(pipeline: dlt.Pipeline, **settings: Any) -> Check:
    """Returns what is right and what is wrong with settings, access to Protime and destination.

    It changes nothing, leaves no file and starts no delta: of each collection it requests one page
    of the plain list, for one day where the collection has dates.

    Args:
        pipeline: The pipeline that would run.
        **settings: Any of `Settings`, in place of dlt's configuration.
    """
    return check_with_folder(pipeline, Path(pipeline.working_dir), **settings)


def check_with_folder(pipeline: dlt.Pipeline, working_dir: Path, **settings: Any) -> Check:
    """Checks with a pipeline that is not in the working folder of the runs.

    Args:
        pipeline: A pipeline of the same name, destination and dataset.
        working_dir: The working folder of the runs, which need not exist.
        **settings: Any of `Settings`, in place of dlt's configuration.
    """
    return Check(tuple(_Checks(pipeline, working_dir, settings).lines()))


class _Checks:
    """The checks of one pipeline."""

    def __init__(self, pipeline: dlt.Pipeline, working_dir: Path, explicit: dict[str, Any]) -> None:
        self._pipeline = pipeline
        self._working_dir = working_dir
        self._explicit = explicit
        self._sections = ConfigSections(pipeline_name=pipeline.pipeline_name)
        self._settings: Settings | None = None
        self._states: dict[str, dict[str, Any]] = {}
        self._problem_of_copy: CheckLine | None = None

    def lines(self) -> Iterator[CheckLine]:
        """Yields a line for each thing."""
        wrong = ""
        try:
            self._settings = Settings.from_config(sections=self._sections, **self._explicit)
        except Exception as error:
            problem = _problem("settings", error)
            wrong, _, _ = problem.text.partition(". ")
            yield problem
        destination = [*self._destination()]
        for each in fields(Settings):
            if not re.search(rf"\b{each.name}\b", wrong):
                yield from self._setting(each.name)
        for name, near in find_typos(each.name for each in fields(Settings)):
            text = f"{name} is not a setting and has no effect. Did you mean {near}?"
            yield CheckLine("settings", "warning", text)
        yield from self._dlt_settings()
        yield from destination
        if self._settings is not None:
            yield from AccessCheck(self._settings).lines()

    def _setting(self, name: str) -> Iterator[CheckLine]:
        """A setting with its value and where it is from; only the latter when others are wrong."""
        given = self._explicit.get(name) is not None
        place = "argument" if given else _place(name, self._sections)
        if self._settings is None:
            if place:
                yield CheckLine(name, "ok", f"from {place}")
            return
        if name == "publish_to" and self._problem_of_copy:
            yield self._problem_of_copy
            return
        if name == "start_date" and (problem := self._problem_of_start(self._settings)):
            yield problem
            return
        value = "hidden" if name in SECRETS else _in_words(name, self._settings)
        yield CheckLine(name, "ok", f"{value} ({place or 'default'})")

    def _problem_of_start(self, settings: Settings) -> CheckLine | None:
        """Protime refuses the start when a delta is begun, which a run with a bookmark does not."""
        dated = [table for table in settings.collections if COLLECTIONS[table].date_column]
        try:
            if dated:
                settings.check_window()
        except SettingsError as error:
            if all(Bookmark.read(self._states.get(table, {})) for table in dated):
                return CheckLine(
                    "start_date", "warning", f"{error} Until then, no full load works."
                )
            return _problem("start_date", error)
        return None

    def _dlt_settings(self) -> Iterator[CheckLine]:
        try:
            guards.check_dlt_settings(self._pipeline.config.enable_runtime_trace)
        except SettingsError as error:
            yield _problem("dlt", error)

    def _destination(self) -> Iterator[CheckLine]:
        folders = {"working folder": self._working_dir}
        try:
            dialect, client = dialect_of(self._pipeline), client_of(self._pipeline)
            if file := dialect.local_file(client):
                folders["DuckDB's folder"] = file.parent
            dialect.check(client)
            self._check_copy(dialect, client)
            dialect.probe(client)
            with dialect.reading(client):
                self._check_tenant(dialect, client)
            yield CheckLine("destination", "ok", f"{dialect.name}: {dialect.location(client)}")
        except Exception as error:
            yield _problem("destination", error)
        if self._settings is not None and self._settings.publish_to and not self._problem_of_copy:
            folders["copy's folder"] = copy_path(self._settings.publish_to).parent
        for name, folder in folders.items():
            yield _disk(name, folder)

    def _check_copy(self, dialect: Dialect, client: Client) -> None:
        """Checks where the copy for readers is meant to be."""
        if self._settings is not None and self._settings.publish_to:
            folder = copy_path(self._settings.publish_to).parent
            try:
                check_publishing(self._settings, dialect, client)
                if not folder.is_dir():
                    raise WarehouseError(
                        f"publish_to names a file in {folder}, which does not exist. Create it:"
                        " until then a run loads, but fails because it makes no copy for readers."
                    )
            except (SettingsError, WarehouseError) as error:
                self._problem_of_copy = _problem("publish_to", error)

    def _check_tenant(self, dialect: Dialect, client: Client) -> None:
        """Checks that the dataset holds no rows of another tenant."""
        if not dialect.has_dataset(client):
            return
        states = stored_states(client)
        state = committed_state(self._pipeline, states) or self._pipeline.state
        self._states = resource_states(state, NAME)
        if self._settings is not None:
            guards.check_tenant(self._settings, self._states)
            others = other_states(self._pipeline.pipeline_name, states)
            guards.check_other_pipelines(self._settings, others, dialect.location(client))


def _problem(name: str, error: BaseException) -> CheckLine:
    failure = explain(error)
    return CheckLine(name, "problem", failure.message, failure.exit_code)


def _place(name: str, sections: ConfigSections) -> str:
    if name != "external_references":
        return sections.place(name)
    places = (sections.place(name, table_name=table) for table in COLLECTIONS)
    return ", ".join(filter(None, places))


def _in_words(name: str, settings: Settings) -> str:
    derived = {
        "company": settings.company or settings.tenant,
        "publish_to": settings.publish_to or "none",
        "start_date": settings.window_start().isoformat(),
        "api_url": settings.api_origin,
        "token_url": settings.token_endpoint,
    }
    match derived.get(name, getattr(settings, name)):
        case bool(value):
            return str(value).lower()
        case tuple(values):
            return ", ".join(values) or "none"
        case dict(values):
            return ", ".join(f"{table}: {text}" for table, text in values.items()) or "none"
        case value:
            return str(value)


def _disk(name: str, folder: Path) -> CheckLine:
    """The free space where a folder is or will be, and whether it can be written."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        text = f"{existing} cannot be written. Give this user the right to write there."
        return CheckLine(name, "problem", text, WarehouseError.exit_code)
    free = shutil.disk_usage(existing).free
    outcome: Literal["ok", "warning"] = "warning" if free < LOW_DISK_BYTES else "ok"
    advice = " Make room: a first load may need more." if free < LOW_DISK_BYTES else ""
    return CheckLine(name, outcome, f"{free / 2**30:,.1f} GiB free in {folder}.{advice}")
