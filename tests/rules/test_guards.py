"""What dlt lets people do with a resource: it is right, or refused before anything is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import dlt
import pytest
from dlt.extract import DltResource, DltSource
from dlt.extract.items_transform import ValidateItem
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import SettingsError, protime
from protime_source.pipeline.failures import explain
from tests.world import Moment, World


class Validator(ValidateItem):
    """One that somebody validates our rows with."""

    def __call__(self, item: Any, meta: Any = None) -> Any:
        return item


def _step(table: Any) -> Any:
    return table


@dlt.transformer
def ids(table: Any) -> Any:
    """One that somebody feeds with our rows."""
    yield table.select(["id"])


def _renamed() -> list[Any]:
    return [protime().assignments.with_name("shifts")]


def _hinted(**hints: Any) -> DltSource:
    source = protime()
    source.assignments.apply_hints(**hints)
    return source


def _fed() -> DltSource:
    source = protime()
    source.resources.add(source.assignments | ids)
    return source


def _changed(change: Callable[[DltResource], object]) -> DltSource:
    source = protime()
    change(source.assignments)
    return source


def _beside(change: Callable[[DltResource], object]) -> DltSource:
    """One of several collections, and not the first that is extracted."""
    source = protime("people", "assignments")
    change(source.people)
    return source


def _with_contract(contract: Any) -> DltSource:
    source = protime()
    source.schema_contract = contract
    return source


def _cursor() -> Any:
    return dlt.sources.incremental("from_date", initial_value=date(2026, 10, 1))


MISUSES: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "parallelized": (lambda: protime().parallelize(), {}, "is parallelized"),
    "another table": (protime, {"table_name": "shifts"}, "into another table"),
    "another table, hinted": (lambda: _hinted(table_name="shifts"), {}, "into another table"),
    "another name": (_renamed, {}, "into another table"),
    "a table by row": (lambda: _hinted(table_name=lambda _: "shifts"), {}, "into another table"),
    "another key": (protime, {"primary_key": "person_id"}, "the key person_id"),
    "another key, hinted": (lambda: _hinted(primary_key="person_id"), {}, "the key person_id"),
    "a transformer": (lambda: [protime().assignments | ids], {}, "cannot feed ids"),
    "a transformer beside it": (_fed, {}, "cannot feed ids"),
    "twice": (lambda: [protime(), protime()], {}, "is selected twice"),
    "a cursor": (lambda: _hinted(incremental=_cursor()), {}, "an incremental hint"),
    "a filter": (lambda: _changed(lambda r: r.add_filter(lambda _: True)), {}, "add_filter"),
    "a limit": (lambda: protime().add_limit(1), {}, "add_limit"),
    "a limit of none": (lambda: protime().add_limit(0), {}, "add_limit"),
    "a map that yields": (
        lambda: _changed(lambda r: r.add_yield_map(lambda table: iter([table]))),
        {},
        "add_yield_map",
    ),
    "a step": (lambda: _changed(lambda r: r._pipe.append_step(_step)), {}, "the step _step"),
    "a validator": (
        lambda: _changed(lambda r: setattr(r, "validator", Validator(lambda _: True))),
        {},
        "a model that validates",
    ),
    "a filter beside it": (
        lambda: _beside(lambda r: r.add_filter(lambda _: True)),
        {},
        "people cannot have add_filter",
    ),
    "a contract": (protime, {"schema_contract": "discard_row"}, "columns=discard_row"),
    "a contract of the source": (
        lambda: _with_contract({"columns": "discard_value"}),
        {},
        "columns=discard_value",
    ),
    "a contract, hinted": (
        lambda: _hinted(schema_contract={"data_type": "discard_row"}),
        {},
        "data_type=discard_row",
    ),
    "a contract on tables": (
        lambda: _with_contract({"tables": "discard_value"}),
        {},
        "tables=discard_value",
    ),
}


def test_a_misuse_is_refused_and_leaves_nothing(world: World, subtests: pytest.Subtests) -> None:
    world.run()
    bookmark = world.bookmark()
    world.tenant.churn(30)
    for misuse, (make, arguments, words) in MISUSES.items():
        with subtests.test(misuse):
            world.tenant.clear_requests()
            pipeline = world.pipeline()
            with pytest.raises(PipelineStepFailed) as caught:
                pipeline.extract(make(), **arguments)  # the first step of its `run`
            failure = explain(caught.value)
            assert failure.exit_code == SettingsError.exit_code
            assert words in failure.message
            # Of two source objects, the first is extracted before dlt comes to the second.
            assert world.requests == 0 or misuse == "twice"
            assert not pipeline.has_pending_data
    assert world.bookmark() == bookmark
    # A contract that fails loudly is allowed.
    world.pipeline().run(protime(), schema_contract="freeze")
    world.check()


def test_a_source_object_is_for_one_thread_at_a_time(world: World) -> None:
    other, source = world.elsewhere(), protime()
    refused: list[str] = []

    def meanwhile() -> None:
        with ThreadPoolExecutor(1) as thread, pytest.raises(PipelineStepFailed) as caught:
            thread.submit(lambda: other.pipeline().run(source)).result()
        refused.append(str(caught.value))

    world.tenant.faults.append(Moment(action=meanwhile))
    world.pipeline().run(source)
    assert "being extracted in another thread" in refused[0]
    world.check()
    other.pipeline().run(source)
    other.check()


def test_rows_that_are_read_back_bring_none_of_dlts_columns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID", "true")
    world.run()
    for id_ in sorted(world.tenant.records)[:5]:
        world.tenant.delete(id_)
    world.run(full_resync=True)
    world.check()
    assert all(row["_dlt_load_id"] for row in world.rows().values())


AGAIN = """
import importlib, os, dlt
from dlt.pipeline import trace
import protime_source

def run():
    pipeline = dlt.pipeline("protime", destination="duckdb", dataset_name="protime_data")
    pipeline.run(protime_source.protime())

run()
child = os.fork()
if child == 0:
    run()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "in a fork"
for module in ("pipeline.hooks", "pipeline.source"):
    importlib.reload(importlib.import_module("protime_source." + module))
importlib.reload(protime_source)
run()
names = [type(each).__name__ for each in trace.TRACKING_MODULES]
assert names.count("LoadHooks") == 1, names
"""


def test_a_run_in_a_fork_and_one_after_a_reload_are_as_any(world: World) -> None:
    """A child has no lock of its parent's, and a notebook may import this package again."""
    subprocess.run(
        [sys.executable, "-c", AGAIN],
        env={**os.environ, **world.engine.environment()},
        check=True,
    )
    world.check()
