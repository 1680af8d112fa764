"""The peers: how each is installed and started, and where its rows are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measures import load_command

HERE = Path(__file__).parent
Command = Callable[[str, Path], list[str]]
"""Returns what to start, for the tenant's address and an empty folder."""


@dataclass(frozen=True)
class Peer:
    """Another way to load assignments into DuckDB.

    Attributes:
        title: What it is, for people.
        command: What to start.
        file: DuckDB's file in its folder.
        table: Its table.
        columns: Its values of `check.COLUMNS`, in their order, as SQL.
        deleted: The condition for a row that is kept as deleted.
        scripts: What has an environment of its own; installed before anything is measured.
        can_repeat: Whether a second run makes sense.
    """

    title: str
    command: Command
    file: str
    table: str
    columns: str
    deleted: str = "FALSE"
    scripts: tuple[str, ...] = ()
    can_repeat: bool = True

    def install(self) -> None:
        """Installs its environments.

        Raises:
            CalledProcessError: When a package cannot be had.
        """
        for script in self.scripts:
            _uv("sync", "--script", str(HERE / script))


def _uv(*arguments: str) -> str:
    command = [os.environ.get("UV", "uv"), *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _python(script: str) -> str:
    """The interpreter of a script's environment."""
    return _uv("python", "find", "--script", str(HERE / script))


def _script(name: str) -> Command:
    return lambda url, folder: [_python(name), str(HERE / name), url, str(folder)]


def _load(name: str) -> Command:
    return lambda url, folder: load_command(name, url, folder)


def _singer(url: str, folder: Path) -> list[str]:
    """The tap and the target, joined by a pipe, as Singer has it."""
    tap, target, state = (folder / f"{name}.json" for name in ("tap", "target", "state"))
    login = {"client_id": "client", "client_secret": "not-a-secret"}
    tap.write_text(json.dumps({"url": url, **login}))
    loads = {"path": str(folder / "singer.duckdb"), "default_target_schema": "main"}
    target.write_text(json.dumps({**loads, "data_flattening_max_level": 1}))
    pipe = 'set -o pipefail; "$1" "$2" --config "$3" | "$4" "$5" --config "$6" > "$7"'
    scripts = ("singer_tap.py", tap), ("singer_target.py", target)
    parts = [str(part) for name, file in scripts for part in (_python(name), HERE / name, file)]
    return ["bash", "-c", pipe, "singer", *parts, str(state)]


def _parsed(column: str) -> str:
    """The array of activity levels out of its text."""
    form = '[{"level": "BIGINT", "activityDefinition": {"id": "VARCHAR"}}]'
    return f"from_json(CAST({column} AS JSON), '{form}')"


_MINUTES = "start_time_in_minutes, end_time_in_minutes, break_duration_in_minutes"
_FIELDS = "startTimeInMinutes, endTimeInMinutes, breakDurationInMinutes, comments"
_DATES = f'"from", until, {_MINUTES}, comments'
_CHILDREN = (
    "SELECT list({'level': c.level, 'activityDefinition': {'id': c.activity_definition__id}}"
    " ORDER BY c._dlt_list_idx) FROM protime_data.assignments__activity_levels c"
    " WHERE c._dlt_parent_id = t._dlt_id"
)

PEERS = {
    "floor": Peer(
        "the floor: pages to disk by a bare client, then DuckDB's `read_json`",
        _load("floor"),
        "floor.duckdb",
        "assignments",
        f'id, changeVersion, isRejected, person_id, "from", until, {_FIELDS},'
        f" {_parsed('activityLevels')}",
        can_repeat=False,
    ),
    "source": Peer(
        "this source",
        _load("source"),
        "warehouse.duckdb",
        "protime_data.assignments",
        f"id, change_version, is_rejected, person_id, from_date, until_date, {_MINUTES}, comments,"
        f" {_parsed('activity_levels')}",
        deleted="is_deleted",
    ),
    "polars": Peer(
        "by hand: a polars script that follows the delta",
        _script("polars_script.py"),
        "polars.duckdb",
        "assignments",
        f'id, changeVersion, isRejected, person_id, "from", until, {_FIELDS}, activityLevels',
        scripts=("polars_script.py",),
    ),
    "rest_api_best": Peer(
        "dlt's `rest_api`, same merge, no child tables, Parquet",
        _load("rest_api_best"),
        "by_hand.duckdb",
        "protime_data.assignments",
        f"id, change_version, is_rejected, person ->> '$.id', {_DATES},"
        f" {_parsed('activity_levels')}",
    ),
    "rest_api": Peer(
        "dlt's `rest_api`, same merge, as it comes",
        _load("rest_api"),
        "by_hand.duckdb",
        "protime_data.assignments",
        f"id, change_version, is_rejected, person__id, {_DATES}, ({_CHILDREN})",
    ),
    "singer": Peer(
        "Singer: a tap of Meltano's SDK, `target-duckdb`",
        _singer,
        "singer.duckdb",
        "main.assignments",
        f'id, changeVersion, isRejected, person__id, "from", until, {_FIELDS},'
        f" {_parsed('activityLevels')}",
        scripts=("singer_tap.py", "singer_target.py"),
    ),
    "airbyte": Peer(
        "PyAirbyte with a manifest, its DuckDB cache",
        _script("airbyte_script.py"),
        "airbyte.duckdb",
        "main.assignments",
        f"""id, changeVersion, isRejected, person ->> '$.id', "from", until, {_FIELDS},"""
        f" {_parsed('activityLevels')}",
        scripts=("airbyte_script.py",),
    ),
}
