"""pipelines/schedules/airflow_dag.py, run by Airflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger import outcomes
from tests.pages import ROOT
from tests.schedulers.conftest import ONLY_ASSIGNMENTS
from tests.world import World

pytest.importorskip("airflow.sdk")

FILE = ROOT / "pipelines" / "schedules" / "airflow_dag.py"


def airflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of Airflow's, with its database in the test's folder."""
    (folder / "dags").mkdir(exist_ok=True)
    shutil.copy(FILE, folder / "dags")
    return subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            # One of Airflow's variables, which dlt reads like secrets.toml.
            "AIRFLOW_VAR_DLT_SECRETS_TOML": '[sources.protime]\nclient_secret = "demo-secret"\n',
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_each_run_brings_what_has_changed_and_a_refused_collection_fails(
    scheduled: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, because Airflow needs some 20 s of CPU time to run one task."""
    monkeypatch.delenv("SOURCES__PROTIME__CLIENT_SECRET")
    migrated = airflow(tmp_path, "db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    for number in range(3):
        if number == 2:
            shutil.rmtree(tmp_path / "dlt")
            scheduled.tenant.delete(min(scheduled.tenant.records))
            scheduled.tenant.behaviour = ONLY_ASSIGNMENTS
        done = airflow(tmp_path, "dags", "test", "protime")
        assert (done.returncode == 0) == (number < 2), done.stdout
    assert "people is not loaded because" in done.stdout
    assert "UP_FOR_RETRY" not in done.stdout
    assert outcomes(scheduled) == [
        ("assignments", "first load", "succeeded", 300),
        ("people", "first load", "succeeded", 5),
        ("assignments", "changes", "succeeded", 0),
        ("people", "changes", "succeeded", 0),
        ("assignments", "changes", "succeeded", 1),
        ("people", "changes", "refused", 0),
    ]
    scheduled.check()
