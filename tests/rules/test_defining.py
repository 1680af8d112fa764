"""Defining is not running: a definition needs no credentials, opens nothing and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import SettingsError, load, protime
from protime_source.pipeline.failures import explain
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


def _moved(monkeypatch: pytest.MonkeyPatch, world: World, prefix: str) -> None:
    """Puts the settings of a tenant under another prefix, and another tenant's where they were."""
    for name, value in world.server.environment().items():
        monkeypatch.setenv(name.replace("SOURCES__PROTIME__", prefix), value)
        monkeypatch.setenv(name, "http://127.0.0.1:1" if "URL" in name else "acme")


def test_a_source_reads_the_section_that_dlt_was_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when rows are asked for later, in a pipeline that it was not defined for."""
    _moved(monkeypatch, world, "SOURCES__BETA__")
    source = protime.with_args(section="beta")()
    world.pipeline("later").run(source)
    world.check()


@pytest.mark.parametrize("way", ["before the pipeline", "after the pipeline", "load"])
def test_a_pipelines_own_settings_win(
    world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    _moved(monkeypatch, world, "NIGHTLY__SOURCES__PROTIME__")
    source = protime() if way == "before the pipeline" else None
    pipeline = world.pipeline("nightly")
    if way == "load":
        load(pipeline)
    else:
        pipeline.run(source or protime())
    world.check()


@pytest.mark.parametrize(("name", "value"), [("DELETES", "remove"), ("COLLECTIONS", "people")])
def test_what_was_defined_for_another_pipeline_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A definition has decided by then on the collections and on the hints of their tables."""
    monkeypatch.setenv(f"NIGHTLY__SOURCES__PROTIME__{name}", value)
    world.pipeline("weekly")
    source = protime()
    pipeline = world.pipeline("nightly")
    world.tenant.clear_requests()
    with pytest.raises(PipelineStepFailed) as caught:
        pipeline.run(source)
    failure = explain(caught.value)
    assert failure.exit_code == SettingsError.exit_code
    assert f"{name.lower()}: the configuration says one thing for the pipeline" in failure.message
    assert world.requests == 0
    pipeline.run(protime())


def test_a_source_of_another_name_is_refused_at_once() -> None:
    """Its rows would be another schema's, for which there are no views and no indexes."""
    with pytest.raises(SettingsError, match="is called protime, not beta"):
        protime.with_args(name="beta", section="beta")()


@pytest.mark.parametrize(
    ("makes_resource", "arguments"), [(False, {"schema": dlt.Schema("beta")}), (True, {})]
)
def test_another_schema_is_refused(
    world: World, *, makes_resource: bool, arguments: dict[str, Any]
) -> None:
    """A resource without its source belongs to the schema of the pipeline."""
    source = protime()
    with pytest.raises(PipelineStepFailed) as caught:
        world.pipeline("beta").run(source.assignments if makes_resource else source, **arguments)
    failure = explain(caught.value)
    assert failure.exit_code == SettingsError.exit_code
    assert "is called protime, not beta" in failure.message
    assert world.requests == 0
