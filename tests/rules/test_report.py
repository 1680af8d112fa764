"""The report: its figures are those of the models, and it changes nothing."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from protime_source import SettingsError, WarehouseError, create_models
from protime_source.cli.commands.notebook import command as notebook_command
from protime_source.reporting import notebook
from protime_source.reporting.page import report
from protime_source.reporting.pictures import (
    Picture,
    all_pictures,
    deleted,
    hours_by_activity,
    planned_and_clocked,
)
from protime_source.reporting.reading import Selection, open_dataset
from tests.command import fits, reason, run_here
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.plain_models import BRUSSELS
from tests.world import World

COLLECTIONS = (
    "assignments",
    "activity_definitions",
    "clockings",
    "departments",
    "department_histories",
)
TODAY = datetime.now(BRUSSELS).date()
SELECTION = Selection.around(TODAY)
DAYS = SELECTION.days


def pictures(world: World, selection: Selection = SELECTION) -> dict[str, Picture]:
    with open_dataset(world.pipeline()) as dataset:
        return {each.name: each for each in all_pictures(dataset, selection, TODAY)}


def total(picture: Picture, figure: str, **only: str) -> float:
    rows = [row for row in picture.rows if all(row[name] == only[name] for name in only)]
    return round(sum(float(row[figure]) for row in rows), 6)


def load_all(make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    """A tenant that changed and lost rows after the first load, also with an expired delta."""
    world = make_world(rows=300)
    structures = ",".join(world.tenant.structures)
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", structures)
    collections: tuple[str, ...] = COLLECTIONS
    for hours in (1, 100):
        world.load(collections=collections, history=True)
        collections = ("assignments",)
        world.tenant.churn(60)
        world.tenant.clock.advance(hours=hours)
    world.load(collections=collections, history=True)
    return world


@sql_engines
def test_each_picture_shows_what_its_model_says(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = load_all(make_world, monkeypatch)
    found = pictures(world)
    create_models(world.pipeline())

    def model(query: str) -> float:
        ((value,),) = world.query(query.replace("data.", f"{world.dataset}."))
        return float(value)

    planned = f"FROM data.planned_days WHERE {DAYS}"
    assert total(found["hours by activity"], "hours") * 60 == model(
        f"SELECT SUM(planned_minutes) {planned}"
    )
    covered = model(f"SELECT SUM(minutes_with_breaks) FROM data.coverage WHERE {DAYS}")
    assert total(found["hours by department"], "hours") * 60 == covered
    assert total(found["coverage"], "minutes") == covered > 0
    past = f"FROM data.planned_vs_clocked WHERE {DAYS} AND day < DATE '{TODAY}'"
    clocked = found["planned and clocked"]
    assert "with breaks" in clocked.subtitle
    assert total(clocked, "hours", kind="clocked") * 60 == pytest.approx(
        model(f"SELECT SUM(clocked_minutes) {past}")
    )
    assert total(clocked, "hours", kind="planned") * 60 == pytest.approx(
        model(f"SELECT SUM(planned_minutes_with_breaks) {past}")
    )
    notice = found["short notice"]
    assert total(notice, "changes") == model("SELECT COUNT(*) FROM data.short_notice_changes") > 0
    short = model("SELECT COUNT(*) FROM data.short_notice_changes WHERE is_short_notice")
    assert notice.title.startswith(f"{short:.0f} of ")
    gone = found["deleted"]
    for why in ("announced", "vanished"):
        rows = f"SELECT COUNT(*) FROM data.assignments WHERE delete_reason = '{why}'"
        assert total(gone, "deleted_rows", table_name="assignments", reason=why) == model(rows)
    assert {row["reason"] for row in gone.rows} == {"announced", "vanished"}


@pytest.mark.parametrize("engine", ["bigquery"], indirect=True)
def test_a_query_that_carries_its_models_runs_on_bigquery(make_world: WorldFactory) -> None:
    world = make_world(rows=40)
    world.load()
    with open_dataset(world.pipeline()) as dataset:
        hours = hours_by_activity(dataset, SELECTION, TODAY)
        assert total(hours, "hours") > 0
        assert not deleted(dataset, SELECTION, TODAY).rows


def test_the_page_is_complete_in_one_file_and_changes_nothing(
    make_world: WorldFactory, tmp_path: Path
) -> None:
    world = make_world(rows=60)
    nothing = run_here(world, "--html", str(tmp_path / "page.html"), command="report")
    assert nothing.returncode == WarehouseError.exit_code
    assert "Run `protime run` first." in reason(nothing)
    world.load()
    before = world.database.read_bytes()
    page, image = Path("page.html"), Path("image.png")
    drawn = run_here(world, "--html", str(page), "--png", str(image), command="report")
    assert drawn.returncode == 0, drawn.stderr
    assert fits(drawn.stdout)
    assert world.database.read_bytes() == before
    text = page.read_text()
    assert image.read_bytes().startswith(b"\x89PNG")
    for absent in ("http", "<script", "@import", "url(", str(tmp_path), "127.0.0.1"):
        assert absent not in text
    assert "from the dataset protime_data (duckdb)" in text
    assert "Last loaded: assignments on " in text
    assert text.count("<img ") == 2
    assert "Load clockings: `protime run clockings`." in text
    assert "Load departments and department_histories" in text
    assert "SOURCES__PROTIME__HISTORY=true" in text
    for arguments, advice in (
        ((), "Add --html FILE"),
        (("--png", "/no/x.png"), "/no/x.png cannot"),
    ):
        refused = run_here(world, *arguments, command="report")
        assert refused.returncode == SettingsError.exit_code
        assert advice in reason(refused)


def test_a_page_without_data_says_so(make_world: WorldFactory) -> None:
    world = make_world(rows=0)
    world.load(collections=[*COLLECTIONS[:1], *COLLECTIONS[2:]], history=True)
    found = report(world.pipeline())
    assert not any(each.rows for each in found.pictures)
    assert found.html().count("<h2>No") == 5
    assert len(found.png()) > 1000


def test_a_selection_takes_days_and_people_alone(make_world: WorldFactory) -> None:
    world = make_world(rows=300)
    world.load(collections=(*COLLECTIONS[:1], *COLLECTIONS[2:]), models=True)
    data = world.dataset
    ((person, department),) = world.query(
        f"SELECT h.person_id, h.department_id FROM {data}.planned_vs_clocked p"
        f" JOIN {data}.department_histories h ON h.person_id = p.person_id WHERE {DAYS}"
        " AND p.clocked_minutes > 0 LIMIT 1"
    )
    team = f"SELECT person_id FROM {data}.department_histories WHERE department_id = {department}"
    for selection, people in (
        (replace(SELECTION, person_id=person), f"person_id = {person}"),
        (replace(SELECTION, department_id=department), f"person_id IN ({team})"),
        (replace(SELECTION, person_id=person, department_id=99), "FALSE"),
        (replace(SELECTION, first_day=TODAY - timedelta(days=500)), "TRUE"),
        (replace(SELECTION, first_day=TODAY, last_day=TODAY), "TRUE"),
    ):
        where = f"WHERE {people} AND {selection.days}"
        ((planned,),) = world.query(
            f"SELECT COALESCE(SUM(planned_minutes), 0) FROM {data}.planned_days {where}"
        )
        ((clocked,),) = world.query(
            f"SELECT COALESCE(SUM(clocked_minutes), 0) FROM {data}.planned_vs_clocked {where}"
            f" AND day < DATE '{TODAY}'"
        )
        with open_dataset(world.pipeline()) as dataset:
            hours = hours_by_activity(dataset, selection, TODAY)
            worked = planned_and_clocked(dataset, selection, TODAY)
        assert total(hours, "hours") * 60 == pytest.approx(planned)
        assert total(worked, "hours", kind="clocked") * 60 == pytest.approx(clocked)


def test_the_notebook_shows_the_report_and_is_a_test_of_itself(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(rows=60)
    world.load(collections=("assignments", "people"))
    for name, value in world.engine.environment().items():
        monkeypatch.setenv(name, value)
    outputs, names = notebook.app.run()
    assert [each.rows for each in names["pictures"]] == [
        each.rows for each in report(world.pipeline()).pictures
    ]
    assert len(names["people"]) == len(world.tenant.of("people"))
    assert "accordion" in str([getattr(output, "text", "") for output in outputs])
    notebook.test_each_picture_agrees_with_its_sql()
    command = notebook_command(Namespace(pipeline="p", destination=None, dataset="d"))
    assert command[-4:] == [notebook.__file__, "--", "--pipeline=p", "--dataset=d"]
