"""Which DuckDB file the pipeline `protime` loads to."""

from __future__ import annotations

from pathlib import Path

import dlt
import pytest

from protime_source import WarehouseError, protime
from protime_source.cli.failures import explain
from protime_source.pipeline.defaults import DUCKDB_FILE
from tests.world import World


def pipeline(name: str = "protime") -> dlt.Pipeline:
    return dlt.pipeline(name, destination="duckdb", dataset_name="protime", pipelines_dir="work")


def file_of(pipeline: dlt.Pipeline) -> str:
    return Path(str(pipeline.destination_client().config.data_location())).name


def test_it_is_not_the_one_that_duckdb_could_not_tell_from_the_dataset(world: World) -> None:
    pipeline().run(protime())
    assert file_of(pipeline()) == DUCKDB_FILE
    assert pipeline().dataset().assignments.fetchall() != []
    assert [path.name for path in Path().glob("*.duckdb")] == [DUCKDB_FILE]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DESTINATION__DUCKDB__CREDENTIALS", "named.duckdb"),
        ("DESTINATION__DUCKDB__CREDENTIALS", "duckdb:///named.duckdb"),
        ("DESTINATION__DUCKDB__CREDENTIALS__DATABASE", "named.duckdb"),
        ("PROTIME__DESTINATION__DUCKDB__CREDENTIALS", "named.duckdb"),
    ],
)
def test_a_named_file_comes_first(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert file_of(pipeline()) == "named.duckdb"


def test_other_pipelines_keep_dlts_own() -> None:
    assert file_of(pipeline("sales")) == "sales.duckdb"


def test_a_file_named_like_the_dataset_is_refused_before_any_request(world: World) -> None:
    world.database = world.folder / "Protime.duckdb"
    with pytest.raises(Exception, match="names must differ") as caught:
        world.run()
    assert explain(caught.value).exit_code == WarehouseError.exit_code
    assert world.tenant.requests == []
