"""What a destination cannot do is said before the first request to Protime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dlt
import duckdb
import pytest
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from protime_source import check, create_models, protime, reset, status, verify
from protime_source.errors import ProtimeError, SettingsError, WarehouseError
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from tests.engines import PostgresEngine
from tests.servers.postgres import PostgresServer, execute
from tests.world import World

Way = Callable[[dlt.Pipeline], object]
WAYS: dict[str, Way] = {"load": load, "run": lambda pipeline: pipeline.run(protime())}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
on_postgres = pytest.mark.parametrize("engine", ["postgres"], indirect=True)


def refusal(
    world: World,
    way: Way,
    pipeline: dlt.Pipeline | None = None,
    kind: type[ProtimeError] = WarehouseError,
) -> str:
    """The line that says why a run is refused; Protime was not asked for anything."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - dlt wraps what a resource raises
        way(pipeline or world.pipeline())
    failure = explain(caught.value)
    assert failure.exit_code == kind.exit_code
    assert world.tenant.requests == []
    return failure.message


def url_of(world: World) -> str:
    assert isinstance(world.engine, PostgresEngine)
    return world.engine.url


def as_loader(world: World, options: str = "") -> None:
    """Lets a user load that may only connect."""
    database = url_of(world).rpartition("/")[2]
    name = f"loader_{database}"
    world.query(f"CREATE ROLE {name} LOGIN PASSWORD 'not-a-secret' {options}")
    world.engine = PostgresEngine(url_of(world).replace("postgres:not", f"{name}:not"))


@on_postgres
@each_way
def test_a_postgres_database_that_is_not_in_utf_8(
    world: World, postgres_server: PostgresServer, way: Way
) -> None:
    name = f"latin_{url_of(world).rpartition('/')[2]}"
    only_bytes = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    execute(postgres_server.url(), f"CREATE DATABASE {name} {only_bytes}")
    world.engine = PostgresEngine(postgres_server.url(name))
    assert "database is LATIN1" in refusal(world, way)


@on_postgres
@each_way
def test_a_connection_that_would_garble_text(world: World, way: Way) -> None:
    world.engine = PostgresEngine(f"{url_of(world)}?client_encoding=latin1")
    assert "connection is LATIN1" in refusal(world, way)


@on_postgres
@each_way
def test_a_postgres_user_that_may_not_create_schemas(world: World, way: Way) -> None:
    owner = world.engine
    as_loader(world)
    assert "GRANT CREATE ON DATABASE" in refusal(world, way)
    for name in (world.dataset, f"{world.dataset}_staging"):
        owner.query(f"CREATE SCHEMA {name}")
    assert "GRANT CREATE ON DATABASE" in refusal(world, way)
    user = url_of(world).partition("//")[2].partition(":")[0]
    for name in (world.dataset, f"{world.dataset}_staging"):
        owner.query(f"GRANT ALL ON SCHEMA {name} TO {user}")
    way(world.pipeline())
    world.check()


@on_postgres
@each_way
def test_credentials_by_which_adbc_cannot_connect(world: World, way: Way) -> None:
    """Psycopg2 has the only connection that the user may have."""
    owner = world.engine
    as_loader(world, "CONNECTION LIMIT 1")
    database = url_of(world).rpartition("/")[2]
    owner.query(f"GRANT CREATE ON DATABASE {database} TO loader_{database}")
    said = refusal(world, way)
    assert "psycopg2 can connect to Postgres, but ADBC cannot" in said
    assert "too many connections" in said


@on_postgres
@each_way
def test_without_adbc_nothing_is_loaded_into_postgres(
    world: World, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setenv("DISABLE_ADBC_DETECTION", "true")
    assert "disable_adbc_detection" in refusal(world, way, kind=SettingsError)


@each_way
def test_a_duckdb_file_that_is_to_be_read_only(world: World, way: Way) -> None:
    world.run()
    world.tenant.clear_requests()
    world.tenant.requests.clear()
    credentials = DuckDbCredentials(str(world.database), read_only=True)
    pipeline = into_duckdb(world, credentials)
    assert "Remove read_only" in refusal(world, way, pipeline, SettingsError)


@pytest.mark.parametrize(
    "credentials", ["md:warehouse", "md:///warehouse?motherduck_token=abcdef", "ducklake:lake"]
)
def test_a_name_that_dlt_would_take_for_a_file(world: World, credentials: str) -> None:
    said = refusal(world, load, into_duckdb(world, credentials), SettingsError)
    assert "MotherDuck, DuckLake or another server" in said
    assert "abcdef" not in said
    assert [path.name for path in world.folder.iterdir() if "ware" in path.name] == []


@each_way
def test_a_connection_that_is_given_is_loaded_into_and_leaves_no_file(
    world: World, way: Way
) -> None:
    with duckdb.connect() as connection:
        before = {*world.folder.iterdir()}
        for rows in (300, 299):
            pipeline = into_duckdb(world, connection)
            way(pipeline)
            live = "SELECT count(*) FROM protime_data.assignments WHERE NOT is_deleted"
            assert connection.execute(live).fetchall() == [(rows,)]
            world.tenant.delete(next(iter(world.tenant.records)))
        assert {path.name for path in {*world.folder.iterdir()} - before} <= {"dlt", "pipelines"}


def into_duckdb(world: World, credentials: Any) -> dlt.Pipeline:
    return dlt.pipeline(
        "protime",
        destination=dlt.destinations.duckdb(credentials),
        dataset_name=world.dataset,
        pipelines_dir=str(world.folder / "pipelines"),
    )


OTHER_WAYS: dict[str, Way] = {
    "reset": lambda pipeline: reset(pipeline, "people"),
    "status": status,
    "verify": verify,
}


UNUSABLE = {
    "postgresql://loader:not@seen@127.0.0.1/planning": "has a second @",
    "postgresql+psycopg2://loader:not@127.0.0.1/planning": "Leave out +psycopg2",
}


@pytest.mark.parametrize("url", UNUSABLE)
def test_whoever_looks_is_told_of_credentials_that_no_driver_could_use(
    world: World, url: str
) -> None:
    pipeline = dlt.pipeline(
        "protime", destination=dlt.destinations.postgres(url), dataset_name=world.dataset
    )
    ways: list[Way] = [load, create_models, *OTHER_WAYS.values()]
    for way in ways:
        said = refusal(world, way, pipeline, SettingsError)
        assert UNUSABLE[url] in said
        assert "seen" not in said
    found = check(pipeline)
    assert [(each.text, each.exit_code) for each in found.problems] == [(said, 2)]


def test_a_server_that_is_away_is_said_without_a_word_on_loading(world: World) -> None:
    away = dlt.destinations.postgres("postgresql://loader:not-seen@127.0.0.1:1/planning")
    said = refusal(world, status, dlt.pipeline("protime", destination=away))
    assert said.startswith("The destination cannot be reached: connection to server at")
    assert said.endswith("Check the address in [destination.postgres] credentials.")


@on_postgres
def test_a_refused_login_names_the_user_and_the_setting(world: World) -> None:
    as_loader(world)
    user = url_of(world).partition("//")[2].partition(":")[0]
    world.engine = PostgresEngine(url_of(world).replace(user, "nobody"))
    said = refusal(world, status)
    assert said.startswith("Postgres refuses the login of nobody. ")
    assert "[destination.postgres] credentials" in said


def test_missing_credentials_are_named_for_this_destination_alone(world: World) -> None:
    said = refusal(world, status, dlt.pipeline("protime", destination="postgres"), SettingsError)
    assert "[destination.postgres]" in said
    assert "DESTINATION__POSTGRES__CREDENTIALS" in said
    assert "BIGQUERY" not in said
    without = dlt.destinations.postgres("postgresql://loader@127.0.0.1/planning")
    said = refusal(world, status, dlt.pipeline("protime", destination=without), SettingsError)
    assert "lacks password in credentials" in said


@pytest.mark.parametrize("way", [*WAYS.values(), *OTHER_WAYS.values()], ids=[*WAYS, *OTHER_WAYS])
def test_a_pipeline_without_a_destination(world: World, way: Way) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - dlt wraps what a resource raises
        way(dlt.pipeline("protime", dataset_name="protime_data"))
    failure = explain(caught.value)
    assert "has no destination" in failure.message
    assert failure.exit_code == SettingsError.exit_code
    assert world.tenant.requests == []
