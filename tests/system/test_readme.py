"""What the README says is true: its code runs, its tables are complete."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from protime_source import ProtimeError, Settings
from protime_source.catalogue import ASSIGNMENTS
from protime_source.cli.failures import STOPPED
from protime_source.demo import Behaviour
from tests.world import World

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

TYPES = {
    "bigint": "BIGINT",
    "bool": "BOOLEAN",
    "date": "DATE",
    "json": "JSON",
    "text": "VARCHAR",
}
"""What DuckDB calls the types of the columns."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def first_cells(heading: str) -> set[str]:
    """What stands in code style in the first column of a section's table."""
    section = README.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    cells = re.findall(r"^\|(.*?)\|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_its_python_runs_from_top_to_bottom(world: World) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(ast.parse(block), "README.md", "exec"), names)  # noqa: S102
    assert len(names["planned"]) == sum(
        not record.get("isRejected", False) for record in world.tenant.records.values()
    )
    assert names["assignments"].num_rows == 300
    assert names["new"] not in world.tenant.records


def test_the_six_steps_of_the_tutorial_are_six_lines() -> None:
    tutorial = next(block for block in blocks("python") if "# 6." in block)
    assert re.findall(r"# (\d)\.", tutorial) == list("123456")


def test_its_columns_are_the_tables_columns(world: World) -> None:
    world.run()
    found = dict(
        world.query(
            "SELECT column_name, data_type || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE ''"
            " END FROM information_schema.columns WHERE table_name = 'assignments'"
        )
    )
    wanted = {column.name: TYPES[column.type] for column in ASSIGNMENTS.columns} | {
        "is_deleted": "BOOLEAN NOT NULL",
        "deleted_at": "TIMESTAMP WITH TIME ZONE",
        "delete_reason": "VARCHAR",
        "synced_at": "TIMESTAMP WITH TIME ZONE NOT NULL",
        "id": "BIGINT NOT NULL",
        "change_version": "VARCHAR NOT NULL",
    }
    assert found == wanted
    assert first_cells("### `assignments`: one row per assignment") == found.keys()


def test_its_settings_are_all_settings() -> None:
    assert first_cells("## Settings") == {each.name for each in fields(Settings)}


def test_its_exit_codes_are_the_exit_codes() -> None:
    codes = set(map(int, re.findall(r"^\| (\d+) \|", README, re.MULTILINE)))
    kinds: list[type[ProtimeError]] = [ProtimeError, *ProtimeError.__subclasses__()]
    assert codes == {kind.exit_code for kind in kinds} | {
        0,
        STOPPED + signal.SIGINT,
        STOPPED + signal.SIGTERM,
    }


def test_its_rooms_are_all_modules() -> None:
    package = ROOT / "protime_source"
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "version.py"}
    assert first_cells("## Develop") == modules | {"demo/", "catalogue/"}


def test_its_files_are_there() -> None:
    for command in re.findall(r"uv run (\S+\.py)", README):
        assert (ROOT / command).is_file()
    for path in re.findall(r"`((?:\.dlt|tests|pipelines)/[\w./]+)`", README):
        if path != ".dlt/secrets.toml":
            assert (ROOT / path).exists(), path


def test_its_open_questions_name_switches_and_tests_that_are_there() -> None:
    section = README.split("### Where the documentation is silent\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\|.*\| (`.*`) \|$", section, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/test_*.py"))
    assert len(rows) == 13
    assert named <= {each.name for each in fields(Behaviour)} | set(
        re.findall(r"^def (test_\w+)", tests, re.MULTILINE)
    )


OTHERS = {
    "TENANT": "acme",
    "START_DATE": date.today().isoformat(),
    "COLLECTIONS": "people",
    "DELETES": "remove",
    "HISTORY": "true",
    "MAX_VANISHED_SHARE": "0",
    "ASSIGNMENTS__EXTERNAL_REFERENCES": "(people,@x)",
}
"""Settings that somebody has for a tenant of their own."""


def test_the_demo_tells_its_story_and_leaves_its_file(tmp_path: Path) -> None:
    settings = {f"SOURCES__PROTIME__{name}": value for name, value in OTHERS.items()}
    told = subprocess.run(
        [sys.executable, ROOT / "pipelines" / "demo.py"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "The table equals the tenant" in told.stdout
    assert (tmp_path / "protime_demo.duckdb").is_file()


RESOLVE = """
import dlt
client = dlt.pipeline("p", destination="bigquery", dataset_name="d").destination_client()
found = client.config
credentials = found.credentials
shown = credentials.has_default_credentials(), credentials.project_id, found.project_id
print(*shown, getattr(credentials, "client_email", None), found.location)
"""


def resolved(folder: Path, toml: str, **more: str) -> list[str]:
    """What dlt makes of a file of settings, in a process without any others."""
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "secrets.toml").write_text(toml)
    command = [sys.executable, "-c", RESOLVE]
    ran = subprocess.run(
        command, env={**os.environ, **more}, capture_output=True, text=True, cwd=folder
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_its_service_account_for_bigquery_is_found(tmp_path: Path) -> None:
    [toml] = [block for block in blocks("toml") if "[destination.bigquery" in block]
    email = "protime-loader@acme-warehouse.iam.gserviceaccount.com"
    found = resolved(tmp_path, toml)
    assert found == ["False", "acme-warehouse", "None", email, "EU"]


@pytest.mark.parametrize("project", ["", "warehouse"])
def test_credentials_of_the_machine_for_bigquery_are_found(tmp_path: Path, project: str) -> None:
    key = {"client_id": "a", "client_secret": "b", "refresh_token": "c", "type": "authorized_user"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    toml = f'[destination.bigquery]\nproject_id = "{project}"\n' if project else ""
    file = str(tmp_path / "key.json")
    more = {"GOOGLE_APPLICATION_CREDENTIALS": file, "GOOGLE_CLOUD_PROJECT": "default"}
    found = resolved(tmp_path, toml, **more)
    assert found[:3] == ["True", "default", project or "None"]
