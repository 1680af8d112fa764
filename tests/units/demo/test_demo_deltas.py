from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from typing import Any

import pytest

from .client import FIELDS, ROOT, YEAR, listing
from .conftest import Serve

UPSERT, DELETE = "InsertOrUpdate", "Delete"
INSIDE: dict[str, Any] = FIELDS | {"from": f"{YEAR}-03-01", "until": f"{YEAR}-03-01"}
OUTSIDE: dict[str, Any] = FIELDS | {"from": f"{YEAR}-01-01", "until": f"{YEAR}-01-01"}


def test_walk_then_changes(serve: Serve, start: str) -> None:
    tenant, client = serve()
    pages = client.pages(listing(start, delta=True))
    assert all("changeType" not in row for page in pages for row in page["value"])
    link = pages[-1]["deltaLink"]
    assert link.startswith(f"{ROOT}/delta/assignments?deltaToken=")
    old, gone = sorted(tenant.records)[:2]
    new = tenant.create(FIELDS)
    tenant.update(old, FIELDS)
    tenant.delete(gone)
    answer = client.page(link)
    assert list(answer) == ["value", "deltaLink"]
    assert answer["value"][0] == {"changeType": UPSERT, "data": tenant.records[new]}
    assert client.changes(link) == [(UPSERT, new), (UPSERT, old), (DELETE, gone)]


def test_token_is_as_documented(serve: Serve, start: str) -> None:
    token = serve()[1].start(start).partition("=")[2]
    content = json.loads(base64.b64decode(token))
    assert token.endswith("=")
    assert {"DeltaId", "StartingCursor", "TimeStamp"} <= set(content)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", content["TimeStamp"])


def test_versions_grow(serve: Serve) -> None:
    tenant, _ = serve()
    before = max(record["changeVersion"] for record in tenant.records.values())
    versions = [tenant.records[tenant.create(FIELDS)]["changeVersion"] for _ in range(40)]
    assert all(low < high for low, high in pairwise([before, *versions]))
    assert all(re.fullmatch("[0-9A-F]{20}", version) for version in versions)


def test_a_restored_record_has_its_id_and_a_higher_version(serve: Serve, start: str) -> None:
    tenant, client = serve()
    link = client.start(start)
    first, gone, last = sorted(tenant.records)[:3]
    stored = tenant.records[gone]["changeVersion"]
    tenant.delete(gone)
    assert client.changes(link) == [(DELETE, gone)]
    tenant.restore(gone, FIELDS)
    assert tenant.records[gone]["changeVersion"] > stored
    assert client.changes(link) == [(UPSERT, gone)]
    listed = [row["id"] for page in client.pages(listing(start)) for row in page["value"]]
    assert listed[:3] == [first, gone, last]
    with pytest.raises(KeyError):
        tenant.restore(gone, FIELDS)


def test_a_restored_record_is_listed_in_its_place(serve: Serve, start: str) -> None:
    """Also when so many were deleted that their ids are forgotten."""
    tenant, client = serve(rows=1100)
    first, *gone = sorted(tenant.records)[:1080]
    kept = sorted(tenant.records)[1080:]
    for id_ in gone:
        tenant.delete(id_)
    tenant.restore(gone[500], INSIDE)
    tenant.restore(gone[0], INSIDE)
    listed = {row["id"]: 0 for page in client.pages(listing(start)) for row in page["value"]}
    assert list(listed) == sorted(listed)
    assert {gone[0], gone[500]} <= listed.keys() <= {first, gone[0], gone[500], *kept}


def test_fresh_link_when_nothing_changed(serve: Serve, start: str) -> None:
    _, client = serve()
    links = [client.start(start)]
    for _ in range(3):
        answer = client.page(links[-1])
        assert answer["value"] == []
        links.append(answer["deltaLink"])
    assert len(set(links)) == 4


def test_changes_during_the_walk(serve: Serve, start: str) -> None:
    tenant, client = serve()
    first = client.page(listing(start, delta=True))
    seen, later = first["value"][0]["id"], max(tenant.records)
    tenant.update(seen, FIELDS)
    tenant.delete(later)
    new = tenant.create(FIELDS)
    last = client.pages(first["nextLink"])[-1]
    assert new in [record["id"] for record in last["value"]]
    assert client.changes(last["deltaLink"]) == [(UPSERT, seen), (DELETE, later), (UPSERT, new)]


def test_used_link_again(serve: Serve, start: str) -> None:
    tenant, client = serve()
    link = client.start(start)
    one = tenant.create(FIELDS)
    assert client.changes(link) == [(UPSERT, one)]
    two = tenant.create(FIELDS)
    assert client.changes(link) == [(UPSERT, one), (UPSERT, two)]


def test_links_work_once(serve: Serve, start: str) -> None:
    _, client = serve(links_rereadable=False)
    link = client.start(start)
    fresh = client.page(link)["deltaLink"]
    assert client.get(link).status_code == 410
    assert client.get(fresh).status_code == 200


def test_72_hours_since_the_last_request(serve: Serve, start: str) -> None:
    tenant, client = serve()
    link = client.start(start)
    for _ in range(2):
        tenant.clock.advance(hours=71)
        client.log_in()
        link = client.page(link)["deltaLink"]
    tenant.clock.advance(hours=73)
    client.log_in()
    answer = client.get(link)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "Gone")


@pytest.mark.parametrize(("dies", "status"), [(True, 410), (False, 200)])
def test_another_consumer(serve: Serve, start: str, dies: bool, status: int) -> None:
    tenant, client = serve(older_delta_dies=dies)
    link = client.start(start)
    tenant.steal_delta()
    assert client.get(link).status_code == status


def test_another_consumer_during_the_walk(serve: Serve, start: str) -> None:
    tenant, client = serve()
    link = client.page(listing(start, delta=True))["nextLink"]
    tenant.steal_delta()
    assert client.get(link).status_code == 410


@pytest.mark.parametrize(("events", "count"), [("compacted", 1), ("all", 3)])
def test_events(serve: Serve, start: str, events: str, count: int) -> None:
    tenant, client = serve(events=events)
    link = client.start(start)
    id_ = tenant.create(FIELDS)
    tenant.update(id_, FIELDS)
    tenant.delete(id_)
    changes = client.changes(link)
    assert len(changes) == count
    assert changes[-1] == (DELETE, id_)


def test_newest_first(serve: Serve, start: str) -> None:
    tenant, client = serve(order="newest_first")
    link = client.start(start)
    made = [tenant.create(FIELDS) for _ in range(5)]
    assert [id_ for _, id_ in client.changes(link)] == made[::-1]


def test_shuffled(serve: Serve, start: str) -> None:
    tenant, client = serve(order="shuffled")
    link = client.start(start)
    made = [tenant.create(FIELDS) for _ in range(30)]
    found = [id_ for _, id_ in client.changes(link)]
    assert sorted(found) == made
    assert found not in (made, made[::-1])


def test_repeated_events(serve: Serve, start: str) -> None:
    tenant, client = serve(repeat_events=True)
    link = client.start(start)
    id_ = tenant.create(FIELDS)
    first = client.page(link)
    assert [item["data"]["id"] for item in first["value"]] == [id_, id_]
    tenant.update(id_, FIELDS)
    versions = [i["data"]["changeVersion"] for i in client.page(first["deltaLink"])["value"]]
    old, new = first["value"][0]["data"]["changeVersion"], tenant.records[id_]["changeVersion"]
    assert versions == [old, new, new]


@pytest.mark.parametrize(
    ("leaving", "kinds"), [("delete", [DELETE]), ("silent", []), ("update", [UPSERT])]
)
def test_leaving_the_window(serve: Serve, leaving: str, kinds: list[str]) -> None:
    tenant, client = serve(rows=0, leaving_window=leaving)
    id_ = tenant.create(INSIDE)
    link = client.start(f"{YEAR}-02-01")
    tenant.update(id_, OUTSIDE)
    assert client.changes(link) == [(kind, id_) for kind in kinds]


def test_leaving_shows_when_changed_again(serve: Serve) -> None:
    tenant, client = serve(rows=0)
    id_ = tenant.create(INSIDE)
    link = client.start(f"{YEAR}-02-01")
    tenant.update(id_, OUTSIDE)
    tenant.update(id_, OUTSIDE | {"comments": "x"})
    assert client.changes(link) == [(DELETE, id_)]


def test_entering_the_window(serve: Serve) -> None:
    tenant, client = serve(rows=0)
    id_ = tenant.create(OUTSIDE)
    link = client.start(f"{YEAR}-02-01")
    tenant.update(id_, INSIDE)
    assert client.changes(link) == [(UPSERT, id_)]


def test_outside_the_window(serve: Serve) -> None:
    tenant, client = serve(rows=0)
    link = client.start(f"{YEAR}-02-01")
    tenant.delete(tenant.create(OUTSIDE))
    assert client.changes(link) == []


@pytest.mark.parametrize("version", ["new", "same"])
@pytest.mark.parametrize("payload", [False, True])
def test_tombstone(serve: Serve, start: str, version: str, payload: bool) -> None:
    tenant, client = serve(delete_version=version, delete_payload=payload)
    link = client.start(start)
    last = tenant.records[min(tenant.records)]
    tenant.delete(last["id"])
    data = client.page(link)["value"][0]["data"]
    assert set(data) == (set(last) if payload else {"id", "changeVersion"})
    assert (data["changeVersion"] == last["changeVersion"]) is (version == "same")


def test_paged_answer(serve: Serve, start: str) -> None:
    tenant, client = serve(delta_page_size=3)
    link = client.start(start)
    made = [tenant.create(FIELDS) for _ in range(7)]
    first = client.page(link)
    assert "deltaToken=" in first["nextLink"]
    assert "continuationToken=" in first["nextLink"]
    later = tenant.create(FIELDS)
    pages = [first, *client.pages(first["nextLink"])]
    found = [item["data"]["id"] for page in pages for item in page["value"]]
    assert found == made
    assert len(pages) == 3
    assert client.changes(pages[-1]["deltaLink"]) == [(UPSERT, later)]


def test_paged_answer_when_links_work_once(serve: Serve, start: str) -> None:
    tenant, client = serve(delta_page_size=3, links_rereadable=False)
    link = client.start(start)
    tenant.churn(10, seed=1)
    assert "deltaLink" in client.pages(link)[-1]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("filter=date ge '2020-01-01'&delta", "earlier"),
        ("filter=date ge '{}' and date le '2099-01-01'&delta", "1 year"),
        ("filter=date ge '{}' and person in (1)&delta", "person"),
    ],
)
def test_start_refused(serve: Serve, start: str, query: str, reason: str) -> None:
    answer = serve()[1].get(f"{ROOT}/assignments?{query.format(start)}")
    assert answer.status_code == 400
    assert reason in answer.json()["error"]["reasons"][0]


@pytest.mark.parametrize("query", ["", "?deltaToken=abc", "?deltaToken=e30="])
def test_malformed_token(serve: Serve, query: str) -> None:
    assert serve()[1].call("GET", f"{ROOT}/delta/assignments{query}").status_code == 400


def test_churn(serve: Serve, start: str) -> None:
    tenant, client = serve(rows=500, events="all")
    link = client.start(start)
    known = set(tenant.records)
    tenant.churn(200, seed=1)
    changes = client.changes(link)
    assert len(changes) == 200
    assert 20 < sum(kind == DELETE for kind, _ in changes) < 60
    assert 40 < len({id_ for _, id_ in changes} - known) < 80
