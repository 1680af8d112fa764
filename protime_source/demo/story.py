"""The demo: runs the pipeline while a tenant changes, and shows the warehouse after each run."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import dlt
import duckdb

from protime_source.api.assignments import ActivityLevel, Assignment
from protime_source.api.client import Client
from protime_source.demo.server import DemoServer
from protime_source.demo.tenant import DemoTenant
from protime_source.pipeline.load import load
from protime_source.pipeline.text import wrap
from protime_source.settings import Settings, earliest_start

FILE = Path("protime_demo.duckdb")
"""The DuckDB file that the demo writes, in the current folder."""

_COLUMNS = "id, from_date, comments, is_deleted, delete_reason"
"""As many as fit into 80 columns of a terminal."""


class Story:
    """Plays the demo.

    Args:
        tenant: The tenant that changes.
        settings: The settings that point the source to the tenant.
        pipeline: The pipeline that loads the tenant.
        out: Where to print.
    """

    def __init__(
        self,
        tenant: DemoTenant,
        settings: Mapping[str, Any],
        pipeline: dlt.Pipeline,
        out: TextIO = sys.stdout,
    ) -> None:
        self._tenant = tenant
        self._settings = dict(settings)
        self._pipeline = pipeline
        self._out = out

    def play(self) -> bool:
        """Play all chapters.

        Returns:
            Whether the live rows in the warehouse equal the tenant's records at the end.
        """
        self._first_load()
        self._one_day()
        self._nothing_new()
        self._long_weekend()
        self._everything_else()
        is_equal = self._check()
        self._say(
            "",
            *wrap(f"That was the main job. What you saw is in {FILE}; in Python:", ""),
            f'  import duckdb; warehouse = duckdb.connect("{FILE}")',
            '  warehouse.sql("FROM protime_data.assignments").show()',
            *wrap(
                "With an account at Protime, `protime run` does the same. It needs"
                " SOURCES__PROTIME__TENANT, SOURCES__PROTIME__CLIENT_ID and"
                " SOURCES__PROTIME__CLIENT_SECRET, in the environment; `protime check` tries them.",
                "",
            ),
        )
        return is_equal

    def _first_load(self) -> None:
        self._chapter(
            "1. The first run",
            f"A Protime tenant on {self._settings['api_url']} has {len(self._tenant.records):,}"
            " assignments. The first run loads all of them.",
        )
        self._run()
        self._show(f"SELECT {_COLUMNS} FROM protime_data.assignments ORDER BY id LIMIT 4")

    def _one_day(self) -> None:
        gone, changed = self._planned_next()
        with Client.from_config(**self._settings) as client:
            edited = _an_hour_later(client.assignments.get(changed))
            new = client.assignments.create(_morning_shift(edited))
            client.assignments.update(changed, edited)
            client.assignments.delete(gone)
        self._chapter(
            "2. A day later",
            f"A planner deleted assignment {gone}, moved {changed} by an hour and planned {new}."
            " The next run asks for the changes alone.",
        )
        self._run()
        self._show(
            f"SELECT {_COLUMNS} FROM protime_data.assignments"
            f" WHERE id IN ({gone}, {changed}, {new}) ORDER BY id"
        )
        self._say(
            *wrap(
                f"The deleted one keeps its last values and is soft-deleted. The levels of {new}:",
                "",
            )
        )
        self._show(f"FROM protime_data.assignments__activity_levels WHERE assignment_id = {new}")
        self._say(
            *wrap(
                "Beside the tables are models, views for analysts. What one says of that day: each"
                " change, and how long before the work it came.",
                "",
            )
        )
        self._show(
            "SELECT assignment_id AS id, change, from_date, start_time_in_minutes / 60 AS hour,"
            " lead_working_days AS days_left, notice"
            " FROM protime_data.short_notice_changes ORDER BY ALL"
        )

    def _planned_next(self) -> tuple[int, int]:
        """Two assignments of the next day on which that many are planned, with their times."""
        today, by_day = self._tenant.clock.today().isoformat(), dict[str, list[int]]()
        for id_, record in self._tenant.records.items():
            if record["from"] > today and "endTimeInMinutes" in record and not record["isRejected"]:
                by_day.setdefault(record["from"], []).append(id_)
        first, second, *_ = next(ids for _, ids in sorted(by_day.items()) if len(ids) > 1)
        return first, second

    def _nothing_new(self) -> None:
        self._chapter("3. An hour later", "Nothing has changed, so one request says so.")
        self._run()

    def _long_weekend(self) -> None:
        self._tenant.replan(400, seed=7)
        self._tenant.clock.advance(hours=96)
        self._chapter(
            "4. After a long weekend",
            "No run for four days, while 400 changes were made. Protime forgets a delta after 72"
            " hours: it answers 410 Gone. The same run does a full load, and finds by itself"
            " what was deleted meanwhile.",
        )
        self._run()
        self._show(
            "SELECT is_deleted, delete_reason, COUNT(*) AS rows FROM protime_data.assignments"
            " GROUP BY ALL ORDER BY ALL"
        )
        self._say(*wrap("How short the notice of all changes was, says the same model:", ""))
        self._show(
            "SELECT notice, COUNT(*) FILTER (change = 'added') AS added,"
            " COUNT(*) FILTER (change = 'moved') AS moved,"
            " COUNT(*) FILTER (change = 'cancelled') AS cancelled,"
            " BOOL_OR(is_short_notice) AS is_short"
            " FROM protime_data.short_notice_changes GROUP BY notice"
            " ORDER BY MIN(lead_time_in_minutes)"
        )

    def _everything_else(self) -> None:
        self._chapter(
            "5. The rest of Protime",
            "People, contracts, clockings, totals ...: `collections` names them, here all of them."
            " Sensitive columns stay out unless they are named.",
        )
        self._run(collections="all", activity_structures=self._tenant.structures)
        self._show(
            "SELECT p.first_name, p.last_name, a.from_date, d.name AS activity"
            " FROM protime_data.assignments a JOIN protime_data.people p ON p.id = a.person_id"
            " JOIN protime_data.assignments__activity_levels l ON l.assignment_id = a.id"
            " JOIN protime_data.activity_definitions d ON d.id = l.activity_definition_id"
            " WHERE l.level = 1 ORDER BY a.id LIMIT 4"
        )

    def _run(self, **settings: Any) -> None:
        self._say(str(load(self._pipeline, **{**self._settings, **settings})), "")

    def _check(self) -> bool:
        with duckdb.connect(str(FILE), read_only=True) as connection:
            live = connection.execute(
                "SELECT id, change_version FROM protime_data.assignments WHERE NOT is_deleted"
            ).fetchall()
        wanted = {(id_, record["changeVersion"]) for id_, record in self._tenant.records.items()}
        is_equal = sorted(live) == sorted(wanted)
        verdict = "equals" if is_equal else "DIFFERS FROM"
        self._say(f"The table {verdict} the tenant: {len(live):,} live rows, version by version.")
        return is_equal

    def _chapter(self, title: str, text: str) -> None:
        self._say(f"\n{title}\n{'-' * len(title)}", *wrap(text, ""), "")

    def _show(self, query: str) -> None:
        with duckdb.connect(str(FILE), read_only=True) as connection:
            self._say(str(connection.sql(query)).rstrip())

    def _say(self, *lines: str) -> None:
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()


def _an_hour_later(planned: Assignment) -> Assignment:
    start, end = planned.start_time_in_minutes or 0, planned.end_time_in_minutes or 0
    return replace(
        planned,
        start_time_in_minutes=start + 60,
        end_time_in_minutes=end + 60,
        comments="Starts at the dock",
    )


def _morning_shift(like: Assignment) -> Assignment:
    """A new assignment for the same person."""
    return Assignment(
        person_id=like.person_id,
        from_date=like.from_date,
        until_date=like.from_date,
        start_time_in_minutes=480,
        end_time_in_minutes=1020,
        break_duration_in_minutes=30,
        comments="Morning shift",
        activity_levels=(
            ActivityLevel(level=1, activity_definition_id="550e8400-e29b-41d4-a716-446655440000"),
        ),
    )


def play() -> int:
    """Play the demo with a new tenant and a new file.

    Returns:
        The exit code: 0 when the live rows in the warehouse equal the tenant's records.
    """
    # Only the tenant's clock jumps, so the warning that a delta expired early would mislead.
    logging.getLogger("protime_source").setLevel(logging.ERROR)
    FILE.unlink(missing_ok=True)
    FILE.with_suffix(".duckdb.wal").unlink(missing_ok=True)
    tenant = DemoTenant(rows=20_000)
    # Every setting, so that settings of a real tenant in the environment have no effect.
    own = {**asdict(Settings("", "", "")), "company": "demo"}
    own["start_date"] = earliest_start().isoformat()
    own["history"] = True  # for what changed at short notice
    own["models"] = True
    with DemoServer(tenant) as server, tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "protime_demo",
            destination=dlt.destinations.duckdb(str(FILE)),
            dataset_name="protime_data",
            pipelines_dir=folder,
        )
        return 0 if Story(tenant, own | server.settings(), pipeline).play() else 1
