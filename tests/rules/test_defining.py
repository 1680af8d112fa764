"""Defining is not running: a definition needs no credentials, opens nothing and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import SettingsError, protime
from protime_source.cli.failures import explain
from tests.command import run
from tests.world import World

DEFINE = """
import sys
from dlt.common.runtime import signals
import dlt, logging
from dlt.pipeline import trace
hooks, filters = list(trace.TRACKING_MODULES), list(logging.getLogger("dlt").filters)
providers = [provider.name for provider in dlt.config.config_providers]
import protime_source
assert trace.TRACKING_MODULES == hooks
assert logging.getLogger("dlt").filters == filters
assert [provider.name for provider in dlt.config.config_providers] == providers
source = protime_source.protime("assignments", "people")
assert [*source.selected_resources] == ["assignments", "people"]
"""


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Without any setting of the source."""
    for name in [name for name in os.environ if name.startswith("SOURCES__")]:
        monkeypatch.delenv(name)
    return dict(os.environ)


def test_importing_registers_nothing_and_defining_leaves_no_file(
    bare_environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {**bare_environment, "DLT_DATA_DIR": str(folder / "dlt")}
    defined = subprocess.run(
        [sys.executable, "-W", "error", "-c", DEFINE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (defined.returncode, defined.stderr) == (0, "")
    assert [*folder.iterdir()] == []


@pytest.mark.usefixtures("bare_environment")
def test_wrong_names_are_refused_at_once() -> None:
    with pytest.raises(SettingsError, match=r"did you mean assignments\?"):
        protime("asignments")
    with pytest.raises(SettingsError, match="sensitive_columns"):
        protime("people", sensitive_columns=["people.birthdate"])


def test_missing_credentials_fail_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    source = protime()
    monkeypatch.delenv("SOURCES__PROTIME__CLIENT_SECRET")
    with pytest.raises(PipelineStepFailed) as caught:
        world.pipeline().run(source)
    failure = explain(caught.value)
    assert failure.exit_code == SettingsError.exit_code
    assert "client_secret" in failure.message
    assert world.requests == 0


@pytest.mark.usefixtures("bare_environment")
def test_a_start_that_fails_leaves_neither_folder_nor_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run decides where the warehouse lies, so a run that cannot begin is none."""
    monkeypatch.delenv("SOURCES__PROTIME__TENANT", raising=False)
    before = sorted(Path.cwd().rglob("*"))
    failed = run(world)
    assert failed.returncode == SettingsError.exit_code
    assert sorted(Path.cwd().rglob("*")) == before
    assert not Path(os.environ["DLT_DATA_DIR"], "pipelines").exists()
