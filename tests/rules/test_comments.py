"""The descriptions of tables, views and columns are comments in the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from protime_source import protime
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour
from protime_source.pipeline.data_model import comments_of
from protime_source.warehouse.dialect import client_of, dialect_of
from tests.engines import BigQueryEngine, PostgresEngine, every_engine
from tests.world import World

VIEW = "assignments__activity_levels"
Comments = dict[tuple[str, str], str | None]

QUERIES = {
    "duckdb": (
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE {0}"
        " UNION ALL SELECT table_name, '', comment FROM duckdb_tables() WHERE {0}"
        " UNION ALL SELECT view_name, '', comment FROM duckdb_views() WHERE {0}"
    ),
    # It has none on the columns of views.
    "ducklake": (
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE {0}"
        " AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE {0})"
        " UNION ALL SELECT table_name, '', comment FROM duckdb_tables() WHERE {0}"
        " UNION ALL SELECT view_name, '', comment FROM duckdb_views() WHERE {0}"
    ),
    "postgres": (
        "SELECT table_name, column_name, col_description(({1})::regclass, ordinal_position)"
        " FROM information_schema.columns WHERE {0} UNION ALL"
        " SELECT table_name, '', obj_description(({1})::regclass, 'pg_class')"
        " FROM information_schema.tables WHERE {0}"
    ),
}


def comments(world: World) -> Comments:
    """What the destination has, by table and column."""
    if isinstance(world.engine, BigQueryEngine):
        return dict(_descriptions(world.engine))
    where = f"{'table_schema' if world.engine.name == 'postgres' else 'schema_name'} = '{{}}'"
    name = "quote_ident(table_schema) || '.' || quote_ident(table_name)"
    query = QUERIES[world.engine.name].format(where.format(world.dataset), name)
    return {(table, column): text for table, column, text in world.query(query)}


def _descriptions(engine: BigQueryEngine) -> Iterator[tuple[tuple[str, str], str | None]]:
    service = engine.server.client()
    for listed in service.list_tables(engine.dataset):
        table = service.get_table(listed.reference)
        yield (table.table_id, ""), table.description
        for field in table.schema:
            yield (table.table_id, field.name), field.description


def wanted(world: World) -> dict[tuple[str, str], str]:
    resources = ("assignments", "sync_runs")
    texts = comments_of(world.pipeline().default_schema, resources)
    if world.engine.name == "ducklake":
        commentable = comments(world)
        return {key: text for key, text in texts.items() if key in commentable or not key[1]}
    return texts


def check(world: World) -> None:
    found = comments(world)
    expected = wanted(world)
    assert {key: found[key] for key in expected} == expected


@every_engine
def test_tables_views_and_columns_have_their_descriptions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are missing or others are written with the next changes."""
    world.run(history=True, models=True)
    check(world)
    found = comments(world)
    assert found["assignments", ""] == ASSIGNMENTS.description
    assert found["assignments", "person_id"] == "The person the assignment is for."
    views = ("assignments__versions", "short_notice_changes", "coverage")
    for name in (VIEW, "assignments__history", "sync_runs", *views):
        described = [key for key, text in found.items() if key[0] == name and text]
        assert len(described) == len([key for key in found if key[0] == name])
    change_comments(world, {("assignments", ""): "theirs", (VIEW, ""): "theirs's"})
    change_comments(world, {("assignments", "person_id"): "theirs"})
    world.tenant.behaviour = Behaviour(extra_fields={"cost": 1})
    world.tenant.churn(30)
    world.run(history=True)
    check(world)
    assert not comments(world)["assignments", "cost"]
    if world.engine.name != "bigquery":
        check_nothing_is_written(world, monkeypatch)


def check_nothing_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all comments are as wanted, they are read with one statement."""
    pipeline = world.pipeline()
    sent: list[str] = []
    with client_of(pipeline).sql_client as client:
        execute = client.execute_sql

        def recorded(sql: str, *arguments: Any) -> Any:
            sent.append(sql)
            return execute(sql, *arguments)

        monkeypatch.setattr(client, "execute_sql", recorded)
        dialect_of(pipeline).write_comments(client, wanted(world))
    assert len(sent) == 1
    assert "COMMENT ON" not in sent[0]


def change_comments(world: World, texts: dict[tuple[str, str], str]) -> None:
    """Writes other comments, as somebody else would."""
    pipeline = world.pipeline()
    with client_of(pipeline).sql_client as client:
        dialect_of(pipeline).write_comments(client, texts)


def test_a_table_that_is_loaded_again_is_commented_again(world: World) -> None:
    world.run()
    world.pipeline().run(protime(), refresh="drop_resources")
    check(world)
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_loader_that_does_not_own_the_tables_leaves_their_comments(
    world: World,
) -> None:
    world.run()
    assert isinstance(world.engine, PostgresEngine)
    owner = f"owner_{world.engine.url.rpartition('/')[2]}"
    loader = owner.replace("owner", "loader")
    for role in (owner, loader):
        world.query(f"CREATE ROLE {role} LOGIN PASSWORD 'not-a-secret'")
    change_comments(world, {("assignments", ""): "theirs"})
    world.query(f"ALTER TABLE {world.dataset}.assignments OWNER TO {owner}")
    pipeline = world.pipeline()
    with client_of(pipeline).sql_client as client:
        client.execute_sql(f"SET ROLE {loader}")
        dialect_of(pipeline).write_comments(client, wanted(world))
    assert comments(world)["assignments", ""] == "theirs"


def test_a_failure_to_comment_is_a_warning_and_a_run_without_changes_does_not_look(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protime_source.warehouse.duckdb.DuckDB.comments_query", "SELECT nothing")
    world.run()
    world.check()
    warnings = [m for m in caplog.messages if "comments could not be written" in m]
    assert len(warnings) == 1
    assert warnings[0].endswith("The next run tries again.")
    caplog.clear()
    world.run()
    assert not any("comments" in message for message in caplog.messages)
