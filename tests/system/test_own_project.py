"""The recipes of docs/own-project.md work as they stand there."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour
from protime_source.demo.access import Access
from protime_source.pipeline.recovery import load_pending
from protime_source.settings import Settings
from protime_source.warehouse.dialect import dialects
from tests.command import run_here
from tests.conftest import WorldFactory
from tests.ledger import outcomes
from tests.pages import DOCS, blocks, section
from tests.world import World

PAGE = DOCS / "own-project.md"


def recipes(heading: str, language: str) -> list[str]:
    """The code blocks below a heading."""
    return re.findall(rf"```{language}\n(.*?)```", section(PAGE, f"## {heading}"), re.DOTALL)


def run_script(heading: str) -> dict[str, Any]:
    """Runs the script below a heading, and returns its names."""
    [script] = recipes(heading, "python")
    names: dict[str, Any] = {}
    exec(compile(ast.parse(script), PAGE.name, "exec"), names)  # noqa: S102
    return names


def run_commands(world: World, heading: str, **more: str) -> list[int]:
    """Runs the lines below a heading that begin with `protime`, and returns their exit codes."""
    lines = "".join(recipes(heading, "sh")).splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("protime ")]
    assert commands
    return [
        run_here(world, *arguments, command=name, **more).returncode
        for _, name, *arguments in commands
    ]


@pytest.fixture
def world(make_world: WorldFactory, tmp_path: Path) -> World:
    """A small tenant; a DuckDB file has the pipeline's name and lies in the current folder."""
    world = make_world(rows=30)
    world.database = tmp_path / "protime.duckdb"
    return world


def test_the_two_files_name_settings_and_a_destination_that_exist() -> None:
    config, secrets = map(tomllib.loads, blocks(PAGE, "toml")[:2])
    known = {each.name for each in fields(Settings)}
    assert {*config["sources"]["protime"], *secrets["sources"]["protime"]} <= known
    assert config["destination_type"] in dialects()
    assert [*secrets["destination"]] == [config["destination_type"]]


def test_a_script_loads_and_goes_on_with_the_rows(world: World, tmp_path: Path) -> None:
    run_script("A script of your own")
    world.check()
    assert pq.read_table(tmp_path / "assignments.parquet").num_rows == 30


def test_several_tenants_are_loaded_beside_each_other(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worlds = {name: make_world(rows=10, seed=seed) for seed, name in enumerate(("acme", "beta"))}
    [settings] = recipes("Several tenants", "toml")
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(settings)
    world = worlds["beta"]
    monkeypatch.setattr(world.engine, "environment", dict)  # a file of the pipeline's name
    for name, world in worlds.items():
        for key, value in world.server.environment().items():
            monkeypatch.delenv(key, raising=False)
            if not key.endswith("TENANT"):
                monkeypatch.setenv(f"{name.upper()}__{key}", value)
    with Container().injectable_context(PluggableRunContext()):  # reads the file
        run_script("Several tenants")
        assert run_commands(world, "Several tenants") == [0, 0]
    for name, world in worlds.items():
        world.database, world.engine.dataset = tmp_path / f"{name}.duckdb", f"{name}_data"
        assert world.live().keys() == world.tenant.records.keys()
        assert len(world.rows("people")) == 5


def test_a_rotated_secret_continues_the_delta(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    monkeypatch.setattr(world.tenant, "_access", Access("new-id", "new-secret", world.tenant.clock))
    assert set(run_commands(world, "Rotating a secret")) == {3}
    new = {"CLIENT_ID": "new-id", "CLIENT_SECRET": "new-secret"}
    settings = {f"SOURCES__PROTIME__{key}": value for key, value in new.items()}
    assert run_commands(world, "Rotating a secret", **settings) == [0, 0]
    assert [mode for _, mode, *_ in outcomes(world)][-1] == "changes"


def test_resetting_loads_anew(world: World) -> None:
    world.run(collections=["people", "assignments"])
    assert run_commands(world, "Resetting") == [0, 0, 0]
    assert [(table, mode) for table, mode, *_ in outcomes(world)] == [
        ("assignments", "first load"),
        ("people", "first load"),
        ("assignments", "full load"),
    ]


def test_an_upgrade_continues_the_delta_or_leads_to_a_full_load_that_keeps_all_rows(
    world: World,
) -> None:
    """The latter when the bookmark is of another version."""
    world.run()
    world.tenant.delete(min(world.tenant.records))
    assert run_commands(world, "Upgrading") == [0, 0, 0]
    assert [mode for _, mode, *_ in outcomes(world)] == ["first load", "changes"]
    rows, pipeline = world.rows(), world.pipeline()
    with pipeline.managed_state(extract_state=True) as state:
        del state["sources"]["protime"]["resources"]["assignments"]["bookmark"]["scope"]
    load_pending(pipeline, 0)
    assert run_commands(world, "Upgrading") == [0, 0, 0]
    assert [mode for _, mode, *_ in outcomes(world)] == ["first load", "changes", "full load"]
    assert world.rows() == rows


class Slack(BaseHTTPRequestHandler):
    """A webhook that remembers."""

    messages: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.messages.append(json.loads(body)["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slack() -> Iterator[tuple[str, list[str]]]:
    """A webhook's address, and the messages that were sent to it."""
    messages: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), type("Here", (Slack,), {"messages": messages}))
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", messages
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_alerts_come_when_a_collection_is_refused_or_its_delta_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, overdue = recipes("Alerts", "sql")
    assert run_here(world, "assignments", "people").returncode == 0
    with slack() as (address, messages):
        monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", address)

        def seen() -> tuple[list[int], int, int, int]:
            run_script("Alerts")
            rows = len(world.query(refused)), len(world.query(overdue))
            return run_commands(world, "Alerts"), *rows, len(messages)

        assert seen() == ([0], 0, 0, 0)
        world.tenant.behaviour = Behaviour(granted_scopes=(ASSIGNMENTS.read_scope,))
        assert run_here(world, "assignments", "people").returncode == 3
        assert seen() == ([7], 1, 0, 1)
        assert "people" in messages[0]
        later = "delta_expires_at = now() + INTERVAL '2 hours'"
        world.query(f"UPDATE protime_data.sync_runs SET {later}")
        assert seen() == ([7], 1, 2, 2)
        long_ago = "ended_at = ended_at - INTERVAL '27 hours', delta_expires_at = NULL"
        world.query(f"UPDATE protime_data.sync_runs SET {long_ago}")
        assert {name for name, *_ in world.query(overdue)} == {"assignments", "people"}
