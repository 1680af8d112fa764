"""What the README and docs/ show works: their Python runs, a warehouse has their tables."""

from __future__ import annotations

import ast
import json
import os
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dlt
import pytest

from protime_source.catalogue import COLLECTIONS
from protime_source.pipeline.load import load
from tests.conftest import WorldFactory
from tests.pages import DOCS, README, blocks, names_in, section, table_rows, text_of
from tests.processes import CONTEXT, fork
from tests.world import World

DATA_MODEL = DOCS / "data-model.md"


def run_python(page: Path) -> dict[str, Any]:
    """Runs a page's Python from top to bottom, and returns the names that it defines."""
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(ast.parse(block), page.name, "exec"), names)  # noqa: S102
    return names


def test_the_readme_loads_and_reads_assignments(world: World) -> None:
    assert run_python(README)["assignments"].num_rows == 300


def test_a_whole_run_from_python_returns_a_summary(world: World) -> None:
    names = run_python(DOCS / "running.md")
    assert names["summary"].tables["assignments"].live_rows == 300


def test_writing_follows_the_six_steps_of_protimes_tutorial(world: World) -> None:
    assert re.findall(r"# (\d)\.", text_of(DOCS / "writing.md")) == list("123456")
    assert run_python(DOCS / "writing.md")["new"] not in world.tenant.records


def test_dlts_dataset_reads_views_and_follows_references(world: World) -> None:
    pipeline = dlt.pipeline("protime", destination="duckdb", dataset_name="protime_data")
    load(pipeline, collections=("assignments", "people"))
    names = run_python(DOCS / "data-model.md")
    assert names["planned"].num_rows == 300
    assert names["levels"].num_rows > 0


def test_a_picture_is_drawn_from_python(world: World) -> None:
    pipeline = dlt.pipeline("protime", destination="duckdb", dataset_name="protime_data")
    load(pipeline)
    assert run_python(DOCS / "analysis.md")["first"].rows


def test_no_other_page_has_python() -> None:
    pages = {page.name for page in DOCS.glob("*.md") if blocks(page, "python")}
    assert pages == {"analysis.md", "data-model.md", "own-project.md", "running.md", "writing.md"}


def documented_columns() -> dict[str, dict[str, str]]:
    """The columns of each table and view in the data model, with DuckDB's types."""
    types = {kind: names_in(duckdb)[0] for kind, duckdb, *_ in _rows("## Types")}

    def columns(rows: list[list[str]]) -> dict[str, str]:
        found = {}
        for name, kind, *_ in rows:
            plain, comma, _ = kind.partition(", not null")
            found[names_in(name)[0]] = types[plain] + (" NOT NULL" if comma else "")
        return found

    sync_columns = columns(_rows("## Sync columns"))
    history, periods = map(columns, _tables("## History"))
    found = {"sync_runs": columns(_rows("## Ledger"))}
    for table in COLLECTIONS:
        text, *views = section(DATA_MODEL, f"### {table}").split("The view ")
        found[table] = columns(table_rows(text)) | sync_columns
        for view in views:
            found[names_in(view)[0]] = columns(table_rows(view))
        version = {name: kind.removesuffix(" NOT NULL") for name, kind in found[table].items()}
        found[f"{table}__history"] = version | history
        kinds = {"change_type": history["change_type"]}
        found[f"{table}__versions"] = periods | kinds | version
    return found


def _tables(heading: str) -> list[list[list[str]]]:
    """The rows of each table in a section."""
    parts = re.split(r"\n\n(?!\|)", section(DATA_MODEL, heading))
    return [table_rows(part) for part in parts if "\n| " in part]


def _rows(heading: str) -> list[list[str]]:
    return table_rows(section(DATA_MODEL, heading))


def test_the_data_model_is_that_of_a_warehouse(make_world: WorldFactory) -> None:
    world = make_world(rows=120)
    sensitive = [
        f"{table}.{column.name}"
        for table, each in COLLECTIONS.items()
        for column in each.columns
        if column.sensitive
    ]
    load(
        world.pipeline(),
        collections=("all",),
        activity_structures=world.tenant.structures,
        sensitive_columns=sensitive,
        history=True,
    )
    stored: dict[str, dict[str, str]] = {}
    for table, column, kind in world.query(
        "SELECT table_name, column_name, data_type || CASE is_nullable WHEN 'NO' THEN ' NOT NULL'"
        f" ELSE '' END FROM information_schema.columns WHERE table_schema = '{world.dataset}'"
    ):
        if not table.startswith("_dlt"):
            stored.setdefault(table, {})[column] = kind
    assert stored == documented_columns()


def resolved(folder: Path, toml: str, **more: str) -> list[str]:
    """What dlt makes of a file of settings, in a process without any others."""
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "secrets.toml").write_text(toml)
    ours, theirs = CONTEXT.Pipe(duplex=False)
    fork(_resolve, {**os.environ, **more}, theirs)
    theirs.close()
    with ours:
        found: list[str] = ours.recv()
    return found


def _resolve(variables: dict[str, str], answer: Connection) -> None:
    os.environ.update(variables)
    client = dlt.pipeline("p", destination="bigquery", dataset_name="d").destination_client()
    found: Any = client.config
    credentials = found.credentials
    shown = credentials.has_default_credentials(), credentials.project_id, found.project_id
    answer.send([*map(str, (*shown, getattr(credentials, "client_email", None), found.location))])


def test_dlt_finds_the_service_account_for_bigquery(tmp_path: Path) -> None:
    [toml] = [
        block
        for block in blocks(DOCS / "destinations.md", "toml")
        if "[destination.bigquery" in block
    ]
    email = "protime-loader@acme-warehouse.iam.gserviceaccount.com"
    found = resolved(tmp_path, toml)
    assert found == ["False", "acme-warehouse", "None", email, "EU"]


@pytest.mark.parametrize("project", ["", "warehouse"])
def test_dlt_finds_the_default_credentials_for_bigquery(tmp_path: Path, project: str) -> None:
    key = {"client_id": "a", "client_secret": "b", "refresh_token": "c", "type": "authorized_user"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    toml = f'[destination.bigquery]\nproject_id = "{project}"\n' if project else ""
    file = str(tmp_path / "key.json")
    more = {"GOOGLE_APPLICATION_CREDENTIALS": file, "GOOGLE_CLOUD_PROJECT": "default"}
    found = resolved(tmp_path, toml, **more)
    assert found[:3] == ["True", "default", project or "None"]
