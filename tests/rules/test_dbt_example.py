"""The dbt project in pipelines/dbt_example builds, and stays right while the warehouse changes.

uv run --group dbt pytest tests/rules/test_dbt_example.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import run_here
from tests.conftest import WorldFactory
from tests.pages import ROOT

pytest.importorskip("dbt.cli.main", reason="needs uv run --no-dev --group dbt")


def test_kept_days_equal_the_view_after_deletes_and_an_expired_delta(
    make_world: WorldFactory, tmp_path: Path
) -> None:
    project = tmp_path / "dbt_example"
    shutil.copytree(ROOT / "pipelines" / "dbt_example", project)
    world = make_world(rows=300)
    environment = {**os.environ, "PROTIME_DUCKDB": str(world.database), "NO_COLOR": "1"}

    def dbt(*arguments: str) -> list[dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", *arguments, "--no-use-colors"],
            env=environment,
            cwd=project,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = (project / "target" / "run_results.json").read_text()
        results: list[dict[str, object]] = json.loads(found)["results"]
        return results

    sources = project / "models" / "sources.yml"
    exported = ("dbt-sources", "assignments", "--output", str(sources))
    world.load(models=True)
    setting = {"SOURCES__PROTIME__MODELS": "true"}
    assert run_here(world, *exported, command="export", **setting).returncode == 0
    for change in ("none", "deletes", "full load"):
        if change != "none":
            world.tenant.churn(80)
        if change == "full load":
            world.tenant.clock.advance(hours=100)
        world.load(models=True)
        results = dbt("build", "--select", "kept_assignment_days+", "source:protime.assignments")
        assert {each["status"] for each in results} <= {"success", "pass"}
        ran = [str(each["unique_id"]) for each in results]
        assert any("kept_days_equal_the_view" in name for name in ran)
        ((kept, gone),) = world.query(
            "SELECT count(day), count(*) FILTER (day IS NULL) FROM protime_dbt.kept_assignment_days"
        )
        assert kept > 0
        assert world.query("SELECT week FROM protime_dbt.hours_by_week LIMIT 1")
        ((deleted,),) = world.query(
            "SELECT count(*) FROM protime_data.assignments WHERE is_deleted OR is_rejected"
        )
        assert gone == deleted
    reasons = world.query("SELECT DISTINCT delete_reason FROM protime_data.assignments")
    assert {"announced", "vanished"} <= {reason for (reason,) in reasons}
    dbt("source", "freshness")
    freshness = json.loads((project / "target" / "sources.json").read_text())["results"]
    assert {each["unique_id"]: each["status"] for each in freshness} == {
        "source.protime_example.protime.assignments": "pass"
    }
