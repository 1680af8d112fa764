"""pipelines/schedules/dagster_definitions.py, run by Dagster."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ledger import outcomes
from tests.pages import ROOT
from tests.schedulers.conftest import ONLY_ASSIGNMENTS
from tests.world import World

dg = pytest.importorskip("dagster")

pytestmark = pytest.mark.filterwarnings("ignore")

FILE = ROOT / "pipelines" / "schedules" / "dagster_definitions.py"
KEYS = [["protime_data", "assignments"], ["protime_data", "people"]]


@pytest.fixture
def definitions(scheduled: World, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file, imported anew: what its assets are depends on the settings."""
    monkeypatch.syspath_prepend(FILE.parent)
    sys.modules.pop(FILE.stem, None)
    return importlib.import_module(FILE.stem)


def run(definitions: ModuleType, *keys: list[str]) -> Any:
    """A run of the scheduled job, or of some assets of it."""
    job = definitions.defs.resolve_job_def("protime")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(key) for key in keys] or None,
        )


def materialized(result: Any) -> dict[str, int]:
    """The rows that Dagster shows of each asset that it counts as materialized."""
    events = result.get_asset_materialization_events()
    materializations = [event.step_materialization_data.materialization for event in events]
    return {
        each.asset_key.path[-1]: each.metadata["dagster/row_count"].value
        for each in materializations
    }


def test_the_definitions_load_without_settings(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "PROTIME" not in name}
    environment |= {"DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-f", str(FILE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "dlt").exists()


def test_each_run_brings_what_has_changed(
    scheduled: World, definitions: ModuleType, tmp_path: Path
) -> None:
    assert definitions.protime_tables.keys == {dg.AssetKey(key) for key in KEYS}
    for number in range(3):
        if number == 2:
            shutil.rmtree(tmp_path / "dlt")
            scheduled.tenant.delete(min(scheduled.tenant.records))
        result = run(definitions)
        assert result.success
        assert materialized(result) == {"assignments": 300 - (number == 2), "people": 5}
    assert outcomes(scheduled) == [
        ("assignments", "first load", "succeeded", 300),
        ("people", "first load", "succeeded", 5),
        ("assignments", "changes", "succeeded", 0),
        ("people", "changes", "succeeded", 0),
        ("assignments", "changes", "succeeded", 1),
        ("people", "changes", "succeeded", 0),
    ]
    scheduled.check()


def test_an_asset_can_be_materialized_alone(scheduled: World, definitions: ModuleType) -> None:
    assert [*materialized(run(definitions, KEYS[1]))] == ["people"]
    assert [name for name, *_ in outcomes(scheduled)] == ["people"]


def test_a_refused_collection_is_a_failure_and_all_others_are_loaded(
    scheduled: World, definitions: ModuleType
) -> None:
    scheduled.tenant.behaviour = ONLY_ASSIGNMENTS
    result = run(definitions)
    assert not result.success
    assert materialized(result) == {"assignments": 300}
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "people is not loaded because" in str(failure.step_failure_data.error)
    assert {name: outcome for name, _, outcome, _ in outcomes(scheduled)} == {
        "assignments": "succeeded",
        "people": "refused",
    }
