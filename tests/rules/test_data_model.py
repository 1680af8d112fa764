"""dlt knows the data model: how tables refer to each other, and the views beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import dlt
import yaml
from dlt.pipeline.helpers import pipeline_drop

from protime_source import protime
from protime_source.catalogue import COLLECTIONS
from protime_source.models import MODELS
from tests.command import environment, run_here
from tests.engines import every_engine
from tests.world import World

VIEW = "assignments__activity_levels"
Edge = tuple[str, str, str]


def edges(mermaid: str) -> set[Edge]:
    """The references that a diagram shows between tables of ours."""
    found = re.findall(r'^ *(\w+) \}\|--o\| (\w+) : "(\w+)"$', mermaid, re.MULTILINE)
    return {(table, referenced, column) for table, referenced, column in found}


def documented(*tables: str) -> set[Edge]:
    """The references of tables that are loaded, of their views, and of models that are there."""
    found: dict[tuple[str, str], str] = {}
    for model in MODELS.values():
        for of_model in model.columns if model.name in tables else ():
            if of_model.refers in tables:
                found.setdefault((model.name, of_model.refers), of_model.name)
    for each in (COLLECTIONS[name] for name in tables if name in COLLECTIONS):
        columns = [(each.table, column) for column in each.columns]
        for view in each.views:
            columns += [(each.view_name(view), column) for column in each.view_columns(view)]
        for table, column in columns:
            if (referenced := column.refers.replace("-", "_")) in tables:
                found.setdefault((table, referenced), column.name)
    return {(*pair, column) for pair, column in found.items()}


def exported(world: World) -> str:
    """What `dlt pipeline protime schema` prints, in a process that never imports this package."""
    script = "from dlt._workspace.cli._dlt import _main; raise SystemExit(_main())"
    pipelines = str(world.folder / "pipelines")
    arguments = [
        "pipeline",
        "--pipelines-dir",
        pipelines,
        "protime",
        "schema",
        "--format",
        "mermaid",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment(world),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dlt_draws_the_model_with_its_references(world: World) -> None:
    tables = ("assignments", "people", "absences", "absence_definitions", "contracts")
    world.pipeline().run(protime(*tables, models=True))
    drawn = exported(world)
    models = [name for name in MODELS if world.engine.holds(name)]
    assert edges(drawn) == documented(*tables, *models)
    assert ("planned_days", "people", "person_id") in edges(drawn)
    assert ("assignments", "people", "person_id") in edges(drawn)
    assert (VIEW, "assignments", "assignment_id") in edges(drawn)
    assert 'bigint person_id "The person the assignment is for."' in drawn


def test_only_references_to_tables_that_are_loaded_are_kept(world: World) -> None:
    def drawn() -> set[Edge]:
        schema = world.pipeline().default_schema
        schema.to_dot()  # it fails on a reference to a table that is missing
        return edges(schema.to_mermaid(hide_columns=True))

    world.run()
    assert drawn() == documented("assignments")
    world.pipeline().run(protime("people"))
    assert drawn() == documented("assignments", "people")
    pipeline_drop(world.pipeline(), resources=["people"])()
    world.run()
    assert drawn() == documented("assignments")


def test_every_table_and_view_in_the_schema_is_described(world: World) -> None:
    world.run(history=True)
    tables = world.pipeline().default_schema.data_tables()
    assert {str(table["name"]) for table in tables} == {
        "assignments",
        VIEW,
        "assignments__history",
        "assignments__versions",
        "sync_runs",
    }
    for table in tables:
        assert table["description"]
        assert all(column["description"] for column in table["columns"].values())
    before = world.pipeline().default_schema.version_hash
    world.run(history=True)
    assert world.pipeline().default_schema.version_hash == before, "a run without changes"


@every_engine
def test_dlts_dataset_reads_the_views(world: World) -> None:
    world.run(history=True)
    elsewhere = dlt.dataset(world.engine.destination(), world.dataset)
    for dataset in (world.pipeline().dataset(), elsewhere):
        for name in (VIEW, "assignments__history", "assignments__versions", "sync_runs"):
            found = dataset[name].fetchall()
            assert len(found) == world.query(f"SELECT COUNT(*) FROM {world.dataset}.{name}")[0][0]
            assert found
    levels = world.pipeline().dataset().table(VIEW)
    joined = levels.join("assignments")
    assert len(joined.fetchall()) == len(levels.fetchall())
    query = f"SELECT l.level FROM {VIEW} l JOIN assignments a ON a.id = l.assignment_id"
    assert len(world.pipeline().dataset()(query).fetchall()) == len(levels.fetchall())


def test_dlt_neither_creates_nor_drops_what_it_only_reads(world: World) -> None:
    world.run(history=True)
    modes: tuple[Any, ...] = ("drop_sources", "drop_resources", "drop_data")
    for mode in modes:
        versions = world.query(f"SELECT COUNT(*) FROM {world.dataset}.assignments__history")[0][0]
        world.pipeline().run(protime(history=True), refresh=mode)
        world.check()
        world.check_levels()
        now = len(world.pipeline().dataset()["assignments__history"].fetchall())
        assert versions < now, mode


def test_the_exported_model_is_that_of_the_warehouse(world: World) -> None:
    loading = run_here(world, SOURCES__PROTIME__HISTORY="true")
    assert loading.returncode == 0
    text = run_here(world, "dbt-sources", command="export", SOURCES__PROTIME__HISTORY="true").stdout
    [source] = yaml.safe_load(text)["sources"]
    for table in source["tables"]:
        place = f"{source['schema']}.{table['name']}"
        names = [row[0] for row in world.query(f"DESCRIBE {place}")]
        assert sorted(names) == sorted(column["name"] for column in table["columns"]), place
    [query] = [t["config"]["loaded_at_query"] for t in source["tables"] if "config" in t]
    query = query.replace("{{ this.include(identifier=false) }}", source["schema"])
    ended = world.query(f"SELECT MAX(ended_at) FROM {source['schema']}.sync_runs")
    assert world.query(query) == ended != [(None,)]
    world.query(f"UPDATE {source['schema']}.sync_runs SET outcome = 'failed'")
    assert world.query(query) == [(None,)]
