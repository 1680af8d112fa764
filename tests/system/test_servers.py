"""The test servers are real: what must fail there fails, and nothing of them is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import psycopg2  # type: ignore[import-untyped]
import pytest
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud.bigquery import Client, LoadJobConfig

from tests.engines import lead_to_bigquery
from tests.servers.bigquery import BigQueryServer
from tests.servers.postgres import PostgresServer, execute

Kind = type[PostgresServer] | type[BigQueryServer]
KINDS = [PostgresServer, BigQueryServer]
ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 30.0
ORPHAN = """
import os, signal
from tests.servers.bigquery import BigQueryServer
from tests.servers.postgres import PostgresServer

def start(kind):
    with kind() as server:
        print(server.port, server.folder, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

"""
TWO_FOR_ONE = """
MERGE INTO {dataset}.items AS target
USING (SELECT 1 AS id, 'b' AS name UNION ALL SELECT 1, 'c') AS source ON target.id = source.id
WHEN MATCHED THEN UPDATE SET name = source.name
"""


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database()


@pytest.fixture(scope="module")
def dataset(bigquery_server: BigQueryServer) -> str:
    """A dataset with one table and one row."""
    name = bigquery_server.new_dataset()
    bigquery_server.client().create_dataset(name)
    bigquery_server.query(f"CREATE TABLE {name}.items (id INT64 NOT NULL, name STRING)")
    bigquery_server.query(f"INSERT INTO {name}.items VALUES (1, 'a')")
    return name


@pytest.fixture
def _dlt_reaches_bigquery(bigquery_server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    lead_to_bigquery(bigquery_server, monkeypatch)


def pipeline(dataset: str) -> dlt.Pipeline:
    return dlt.pipeline("servers", destination="bigquery", dataset_name=dataset)


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def closes(port: int) -> bool:
    """Whether nothing listens any more, before long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_open(port) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_open(port)


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM nowhere", psycopg2.errors.UndefinedTable),
        ("SELECT nothing FROM pg_class", psycopg2.errors.UndefinedColumn),
        ("SELEC 1", psycopg2.errors.SyntaxError),
        ("SELECT 1 / 0", psycopg2.errors.DivisionByZero),
        (
            "MERGE INTO t USING (VALUES (1), (1)) AS s (id) ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET id = 2",
            psycopg2.errors.CardinalityViolation,
        ),
    ],
)
def test_postgres_fails_what_fails(database: str, sql: str, error: type[Exception]) -> None:
    execute(database, "CREATE TABLE t AS SELECT 1 AS id")
    with pytest.raises(error):
        execute(database, sql)


def test_postgres_refuses_a_wrong_password(database: str) -> None:
    password = psycopg2.extensions.parse_dsn(database)["password"]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        execute(database.replace(password, "wrong"), "SELECT 1")


def test_postgres_does_not_compare_text_by_its_bytes(database: str) -> None:
    words = "SELECT word FROM unnest(ARRAY['b', 'B', 'a', 'C', 'é', 'f']) AS word ORDER BY word"
    assert [row[0] for row in execute(database, words)] == ["a", "b", "B", "C", "é", "f"]
    assert execute(database, "SELECT 'a' = 'A'") == [(False,)]


def test_postgres_is_not_in_utc(database: str) -> None:
    shown = execute(database, "SELECT '2024-01-02'::timestamptz AT TIME ZONE 'UTC' = '2024-01-02'")
    assert shown == [(False,)]


def test_every_postgres_database_is_empty(postgres_server: PostgresServer) -> None:
    one, other = postgres_server.create_database(), postgres_server.create_database()
    execute(one, "CREATE TABLE items (id int)")
    execute(other, "CREATE TABLE items (id int)")


def test_postgres_dies_and_comes_back_with_its_data_and_leaves_nothing_behind() -> None:
    with PostgresServer() as server:
        url = server.create_database()
        execute(url, "CREATE TABLE items AS SELECT 1 AS id")
        server.stop()
        with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
            execute(url, "SELECT 1")
        server.start()
        assert execute(url, "SELECT id FROM items") == [(1,)]
    _check_that_it_is_gone(server)


STRANGER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
SERVED = """
import os
from tests.servers.postgres import PostgresServer, execute

assert os.geteuid() != 0
with PostgresServer() as server:
    print(execute(server.create_database(), "SELECT 1"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="all other tests run as such a user")
def test_postgres_also_starts_for_a_user_without_rights() -> None:
    """The user that it is otherwise started as by root, with a home that is empty."""
    if subprocess.run([*STRANGER, sys.executable, "-c", "import psycopg2"], cwd="/").returncode:
        pytest.skip("others than root cannot get at this Python")
    command = [*STRANGER, sys.executable, "-B", "-c", SERVED]
    with TemporaryDirectory(prefix="home-") as home:
        os.chown(home, 65534, 65534)
        environment = {**os.environ, "HOME": home}
        environment.pop("XDG_CACHE_HOME", None)
        served = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (served.returncode, served.stdout) == (0, "[(1,)]\n"), served.stderr


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM {dataset}.nowhere", NotFound),
        ("SELECT * FROM nowhere.items", NotFound),
        ("SELECT nothing FROM {dataset}.items", BadRequest),
        ("SELEC 1", BadRequest),
        ("SELECT 1 / 0", BadRequest),
        ("SELECT id = 'a' FROM {dataset}.items", BadRequest),
        ("INSERT INTO {dataset}.items (id) VALUES (NULL)", BadRequest),
        ("CREATE TABLE {dataset}.items (id INT64)", Conflict),
        (TWO_FOR_ONE, BadRequest),
    ],
)
def test_bigquery_fails_what_fails(
    bigquery_server: BigQueryServer, dataset: str, sql: str, error: type[GoogleAPICallError]
) -> None:
    """By each way of Google's client: a job that is polled, and a short query."""
    client, sql = bigquery_server.client(), sql.format(dataset=dataset)
    with pytest.raises(error):
        client.query(sql).result()
    with pytest.raises(error):
        client.query_and_wait(sql)
    unchanged = bigquery_server.query(f"SELECT * FROM {dataset}.items WHERE id IS DISTINCT FROM 2")
    assert unchanged == [(1, "a")]


@pytest.mark.usefixtures("_dlt_reaches_bigquery")
@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM nowhere", DatabaseUndefinedRelation),
        ("SELECT * FROM nowhere.items", DatabaseUndefinedRelation),
        ("SELECT nothing FROM items", DatabaseException),
        ("SELEC 1", DatabaseException),
        ("CREATE TABLE items (id INT64)", DatabaseException),
        (TWO_FOR_ONE, DatabaseException),
    ],
)
def test_bigquery_fails_what_fails_through_dlt(
    dataset: str, sql: str, error: type[DatabaseException]
) -> None:
    with pipeline(dataset).sql_client() as client, pytest.raises(error):
        client.execute_sql(sql.format(dataset=dataset))


def test_bigquery_fails_a_load_that_does_not_fit(
    bigquery_server: BigQueryServer, dataset: str
) -> None:
    with pytest.raises(BadRequest):
        load(bigquery_server.client(), dataset, b'{"id": "a"}', "unfit")


def test_bigquery_takes_the_id_of_a_job_once(bigquery_server: BigQueryServer, dataset: str) -> None:
    """So the real service does too, whether the first job went well or not."""
    client = bigquery_server.client()
    load(client, dataset, b'{"id": 2}', "once")
    with pytest.raises(Conflict):
        load(client, dataset, b'{"id": 2}', "once")
    assert bigquery_server.query(f"SELECT COUNT(*) FROM {dataset}.items WHERE id = 2") == [(1,)]


def load(client: Client, dataset: str, lines: bytes, job: str) -> None:
    config = LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND")
    table = f"{client.project}.{dataset}.items"
    client.load_table_from_file(BytesIO(lines), table, job_id=job, job_config=config).result()


@pytest.mark.usefixtures("_dlt_reaches_bigquery")
def test_dlt_loads_into_bigquery(bigquery_server: BigQueryServer, dataset: str) -> None:
    """With nothing but the environment: dlt asks for a token, loads files and merges them."""
    rows: list[dict[str, Any]] = [{"id": 1, "name": "b"}, {"id": 2, "name": ""}]
    options: dict[str, Any] = {"write_disposition": "merge", "primary_key": "id"}
    for part in (rows[:1], rows):
        pipeline(dataset).run(part, table_name="loaded", **options)
    loaded = bigquery_server.query(f"SELECT id, name FROM {dataset}.loaded ORDER BY id")
    assert loaded == [(1, "b"), (2, "")]


def test_nothing_is_left_of_bigquery_after_the_context() -> None:
    with BigQueryServer() as server:
        assert is_open(server.port)
    _check_that_it_is_gone(server)


def _check_that_it_is_gone(server: PostgresServer | BigQueryServer) -> None:
    assert not is_open(server.port)
    assert not server.folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_dies_with_its_parent(kind: Kind) -> None:
    command = [sys.executable, "-c", f"{ORPHAN}start({kind.__name__})"]
    parent = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    port, folder = parent.stdout.split()
    try:
        assert closes(int(port))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
