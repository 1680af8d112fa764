"""`protime push`, as a person or a scheduler runs it."""

from __future__ import annotations

import csv
import json
import re
from itertools import product
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protime_source.demo import Behaviour
from tests.command import fits, reason, run_here
from tests.pushes import DAY, FIRST_PERSON, check, sent, wanted
from tests.world import Row, World


def command(world: World, *arguments: str) -> CompletedProcess[str]:
    return run_here(world, *arguments, command="push")


def totals(run: CompletedProcess[str]) -> dict[str, str]:
    """The totals by their titles."""
    lines = run.stdout.splitlines()
    [head] = [number for number, line in enumerate(lines) if line.startswith("rows ")]
    titles = re.split(r"  +", lines[head])
    return dict(zip(titles, lines[head + 1].split(), strict=True))


def write_csv(path: Path, rows: list[Row]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_a_file_is_planned_then_applied_and_then_nothing_is_left_to_do(
    world: World, tmp_path: Path
) -> None:
    rows = wanted(3)
    file = write_csv(tmp_path / "roster.csv", rows)
    plan = command(world, "--from", file)
    assert plan.returncode == 0, plan.stderr
    assert "This is the plan: nothing was sent. Pass --apply to carry it out." in plan.stdout
    assert "shift-1" in plan.stdout
    assert sent(world) == []
    applied = command(world, "--from", file, "--apply")
    assert applied.returncode == 0, applied.stderr
    assert totals(applied)["created"] == totals(applied)["rows"] == "3"
    check(world, rows)
    again = command(world, "--from", file, "--apply")
    assert totals(again) == {**dict.fromkeys(totals(again), "0"), "rows": "3", "already so": "3"}
    assert all(map(fits, (plan.stdout, applied.stdout, again.stdout)))


def test_a_plan_is_told_field_by_field_with_what_needs_somebody_first(
    world: World, tmp_path: Path
) -> None:
    rows = wanted(4)
    command(world, "--from", write_csv(tmp_path / "roster.csv", rows), "--apply")
    rows[0]["comments"] = None
    rows[1]["start_time_in_minutes"] = 495
    rows[2] |= {"is_deleted": True}
    rows[3]["person_id"] = "nobody"
    rows.append({**rows[1], "key": "a-new-one", "comments": "words " * 20})
    rows = [{"is_deleted": None, **row, "person_id": str(row["person_id"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "roster.parquet")
    plan = command(world, "--from", str(tmp_path / "roster.parquet"))
    assert plan.returncode == 3
    assert reason(plan) == "error: 1 of 5 rows cannot be written: 1 invalid."
    ids = sorted(id_ for id_, r in world.tenant.records.items() if r["person"]["id"] > 900_000)
    assert plan.stdout.splitlines()[:6] == [
        "invalid    shift-3              person_id is not a whole number",
        f"delete     shift-2    {ids[2]}",
        f'update     shift-0    {ids[0]}    comments "Zaal 3" -> -',
        f"update     shift-1    {ids[1]}    start 480 -> 495",
        f"create     a-new-one            person {FIRST_PERSON}; from {DAY}; start 495; comments",
        '           "words words words words wor..."',
    ]
    assert fits(plan.stdout)


def test_rows_of_the_warehouse_by_table_and_by_query(world: World) -> None:
    world.run()
    world.query(
        f"CREATE TABLE {world.dataset}.roster AS SELECT 'r' || id AS key, id, 'x' AS comments"
        f" FROM {world.dataset}.assignments LIMIT 4"
    )
    planned = {
        ("--table", "roster"): 4,
        ("--table", f"{world.dataset}.roster"): 4,
        ("--query", "SELECT * FROM roster LIMIT 2"): 2,
    }
    for arguments, count in planned.items():
        found = command(world, *arguments, "--json")
        assert found.returncode == 0, found.stderr
        report = json.loads(found.stdout)
        assert report["counts"] == {"update": count}
    assert report["applied"] is False
    assert report["rows"][0].keys() == {
        "row",
        "key",
        "action",
        "status",
        "id",
        "changes",
        "reason",
        "warning",
    }
    assert report["rows"][0]["changes"]["comments"]["new"] == "x"


def test_too_many_deletes_are_code_5_unless_they_are_allowed(world: World, tmp_path: Path) -> None:
    rows = wanted(12)
    command(world, "--from", write_csv(tmp_path / "a.csv", rows), "--apply")
    gone = write_csv(tmp_path / "b.csv", [{"key": r["key"], "is_deleted": True} for r in rows])
    stopped = command(world, "--from", gone, "--apply")
    assert stopped.returncode == 5
    assert "This push is to delete 12 of the 12 assignments" in reason(stopped)
    check(world, rows)
    assert command(world, "--from", gone, "--apply", "--max-deleted-share", "1").returncode == 0
    check(world, [])


@pytest.mark.parametrize("arguments", [(), ("--table", "a", "--query", "b")])
def test_what_is_to_be_pushed_must_be_named_once(world: World, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        command(world, *arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--from", "missing.csv"), 2, "missing.csv cannot be read: No such file or directory."),
        (("--table", "roster"), 2, "There is no "),
        (("--from", "ok.csv", "--max-deleted-share", "2"), 2, "max_deleted_share"),
    ],
)
def test_what_cannot_begin_is_one_line(
    world: World, tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    write_csv(tmp_path / "ok.csv", wanted(1))
    done = command(world, *arguments)
    assert done.returncode == code
    assert text in reason(done)
    assert sent(world) == []


def test_a_missing_right_to_write_is_said_before_anything_is_planned(
    world: World, tmp_path: Path
) -> None:
    world.tenant.behaviour = Behaviour(granted_scopes=("connector-protimeapi-assignments.read",))
    done = command(world, "--from", write_csv(tmp_path / "a.csv", wanted(1)))
    assert done.returncode == 3
    assert "connector-protimeapi-assignments.write" in reason(done)


WRONG = {
    ("--query", "SELECT * FROM nowhere"): "Table with name nowhere does not exist.",
    ("--table", "nope"): "Table with name nope does not exist.",
    ("--query", "SELEC 1"): 'syntax error at or near "SELEC".',
}


def test_a_wrong_table_or_query_is_said_in_the_engines_words(
    world: World, subtests: pytest.Subtests
) -> None:
    world.run()
    for (arguments, words), apply in product(WRONG.items(), ((), ("--apply",))):
        with subtests.test(str(arguments + apply)):
            done = command(world, *arguments, *apply)
            assert done.returncode == 2
            assert f"{words} Nothing was sent. Correct the table or query." in reason(done)
            assert "!" not in reason(done)


@pytest.mark.parametrize(
    "setting",
    [
        {"SOURCES__PROTIME__CLIENT_SECRET": "wrong"},
        {"SOURCES__PROTIME__TOKEN_URL": "http://127.0.0.1:9/token"},
        {"SOURCES__PROTIME__API_URL": "http://127.0.0.1:9"},
    ],
)
def test_what_fails_before_anything_was_sent_says_so(
    world: World, tmp_path: Path, setting: dict[str, str]
) -> None:
    file = write_csv(tmp_path / "a.csv", wanted(1))
    once = {"RUNTIME__REQUEST_MAX_ATTEMPTS": "1"}
    done = run_here(world, "--from", file, "--apply", command="push", **setting, **once)
    assert done.returncode == 3
    assert reason(done).endswith("Nothing was sent.")
    assert "Push again" not in reason(done)


def test_a_misspelt_column_is_one_line_for_all_rows(world: World, tmp_path: Path) -> None:
    rows = [{**row, "coments": "x"} for row in wanted(3)]
    done = command(world, "--from", write_csv(tmp_path / "a.csv", rows))
    assert done.returncode == 2
    assert "an unknown column: coments (did you mean comments?). Nothing" in reason(done)
    done = command(world, "--from", write_csv(tmp_path / "b.csv", [{"person_id": 1}]))
    assert "no column key" in reason(done)
