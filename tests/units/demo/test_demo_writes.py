from __future__ import annotations

from typing import Any

import pytest

from .client import FIELDS, ROOT, YEAR
from .conftest import Serve

LIST = f"{ROOT}/assignments"


def test_create(serve: Serve) -> None:
    tenant, client = serve()
    answer = client.call("POST", LIST, FIELDS | {"id": 5, "isRejected": True, "comments": None})
    path = answer.headers["Location"]
    id_ = int(path.rpartition("/")[2])
    assert answer.status_code == 201
    assert path == f"{LIST}/{id_}"
    version = tenant.records[id_]["changeVersion"]
    assert client.call("GET", path).json() == tenant.records[id_]
    assert tenant.records[id_] == {
        **FIELDS,
        "id": id_,
        "isRejected": False,
        "changeVersion": version,
    }


def test_update_replaces_all_writable_fields(serve: Serve) -> None:
    tenant, client = serve()
    id_ = tenant.create(FIELDS, comments="before", isRejected=True)
    assert client.call("PUT", f"{LIST}/{id_}", FIELDS | {"isRejected": False}).status_code == 200
    record = tenant.records[id_]
    assert "comments" not in record
    assert record["isRejected"] is True


def test_delete(serve: Serve) -> None:
    tenant, client = serve()
    id_ = min(tenant.records)
    assert client.call("DELETE", f"{LIST}/{id_}").status_code == 200
    assert id_ not in tenant.records


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(("id_", "status"), [("1", 404), ("x", 400)])
def test_unknown_id(serve: Serve, method: str, id_: str, status: int) -> None:
    answer = serve()[1].call(method, f"{LIST}/{id_}", FIELDS)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"from": "2026-01-05"}, "person"),
        ({"person": {"id": 1}}, "from"),
        ({"person": {"id": "1"}, "from": "2026-01-05"}, "person"),
        (FIELDS | {"from": "05/01/2026"}, "from"),
        (FIELDS | {"until": f"{YEAR}-01-04"}, "until"),
        (FIELDS | {"startTimeInMinutes": -1441}, "startTimeInMinutes"),
        (FIELDS | {"endTimeInMinutes": 2881}, "endTimeInMinutes"),
        (FIELDS | {"breakDurationInMinutes": True}, "breakDurationInMinutes"),
        (FIELDS | {"comments": 5}, "comments"),
        (FIELDS | {"activityLevels": [{"level": 1}]}, "activityLevels"),
    ],
)
def test_validation_errors_have_no_wrapper(
    serve: Serve, fields: dict[str, Any], named: str
) -> None:
    answer = serve()[1].call("POST", LIST, fields)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["validationErrors"]] == [named]
    assert "error" not in answer.json()


@pytest.mark.parametrize("time", [-1440, 2880])
def test_times_at_the_edge(serve: Serve, time: int) -> None:
    assert serve()[1].call("POST", LIST, FIELDS | {"startTimeInMinutes": time}).status_code == 201


def test_body_that_is_not_json(serve: Serve) -> None:
    _, client = serve()
    answer = client.http.post(client.server.api_url + LIST, data=b"{", timeout=5)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]


def test_fields_we_do_not_know_are_kept(serve: Serve) -> None:
    tenant, client = serve(rows=0)
    client.call("POST", LIST, FIELDS | {"colour": "red"})
    assert next(iter(tenant.records.values()))["colour"] == "red"


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", LIST), ("POST", f"{LIST}/1"), ("POST", f"{ROOT}/delta/assignments")],
)
def test_no_such_operation(serve: Serve, method: str, path: str) -> None:
    assert serve()[1].call(method, path, FIELDS).status_code == 404


def test_in_process_writes_are_checked_too(serve: Serve) -> None:
    tenant, _ = serve()
    with pytest.raises(ValueError, match="person is required"):
        tenant.create({"from": "2026-01-05"})
