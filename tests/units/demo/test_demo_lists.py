from __future__ import annotations

from typing import Any

import pytest

from .client import FIELDS, ROOT, YEAR, ids, listing
from .conftest import Serve


def test_pages_show_every_record_as_it_is(serve: Serve, start: str) -> None:
    tenant, client = serve()
    pages = client.pages(listing(start))
    assert [len(page["value"]) for page in pages] == [20, 20, 10]
    assert [row for page in pages for row in page["value"]] == list(tenant.records.values())
    assert list(pages[-1]) == ["value"]


def test_empty_tenant(serve: Serve, start: str) -> None:
    assert serve(rows=0)[1].pages(listing(start)) == [{"value": []}]


def test_full_last_page(serve: Serve, start: str) -> None:
    assert len(serve(rows=40)[1].pages(listing(start))) == 2


def test_links_are_as_documented(serve: Serve, start: str) -> None:
    link = serve()[1].page(listing(start, delta=True))["nextLink"]
    assert link.startswith(f"{ROOT}/assignments?filter=date ge '{start}'&continuationToken=")
    for name in ("continuationToken=", "deltaToken="):
        token = link.partition(name)[2].partition("&")[0]
        assert {"+", "/", "="} <= set(token)


def test_encoded_links(serve: Serve, start: str) -> None:
    _, client = serve(link_style="encoded")
    link = client.page(listing(start))["nextLink"]
    assert f"filter=date%20ge%20%27{start}%27" in link
    assert client.call("GET", link).status_code == 200


def test_absolute_links(serve: Serve, start: str) -> None:
    _, client = serve(link_style="absolute")
    link = client.page(listing(start))["nextLink"]
    assert link.startswith(client.server.api_url + ROOT)


def test_raw_plus_is_a_blank(serve: Serve, start: str) -> None:
    _, client = serve()
    assert client.call("GET", client.page(listing(start))["nextLink"]).status_code == 409


def test_filter_bounds_are_inclusive(serve: Serve) -> None:
    tenant, client = serve(rows=0)
    days = [f"{YEAR}-01-0{day}" for day in range(1, 7)]
    made = [tenant.create(FIELDS | {"from": day, "until": day}) for day in days]
    assert ids(client.pages(listing(days[1], days[3]))) == made[1:4]


@pytest.mark.parametrize(("window", "found"), [("from", 0), ("overlap", 1)])
def test_window(serve: Serve, window: str, found: int) -> None:
    tenant, client = serve(rows=0, window=window)
    tenant.create(FIELDS | {"from": f"{YEAR}-01-01", "until": f"{YEAR}-01-09"})
    assert len(ids(client.pages(listing(f"{YEAR}-01-05")))) == found


@pytest.mark.parametrize("more", [" and person in (7,8)", " and (person eq 7)"])
def test_person_filter(serve: Serve, more: str) -> None:
    tenant, client = serve(rows=0)
    mine, _ = (tenant.create(FIELDS | {"person": {"id": person}}) for person in (7, 9))
    assert ids(client.pages(listing(f"{YEAR}-01-01", more=more))) == [mine]


@pytest.mark.parametrize(
    "query",
    [
        "?",
        "?filter=",
        "?filter=person eq 1",
        "?filter=date le '2026-01-01'",
        "?filter=date ge 2026-01",
        "?filter=date gt '2026-01-01'",
        "?filter=date ge '2026-13-01'",
        "?filter=date ge '2026-01-01' or date ge '2026-01-02'",
        "?filter=date ge '2026-01-01' and",
        "?filter=(date ge '2026-01-01'",
        "?filter=date ge '2026-01-01' and person in (1",
        "?filter=date ge '2026-01-01' and person eq x",
        "?filter=date ge '2026-01-01' #",
    ],
)
def test_bad_filter(serve: Serve, query: str) -> None:
    _, client = serve(rows=0)
    answer = (
        client.get(f"{ROOT}/assignments{query}")
        if query
        else client.call("GET", f"{ROOT}/assignments")
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BadRequest"
    assert answer.json()["error"]["reasons"]


def test_long_uri(serve: Serve, start: str) -> None:
    _, client = serve()
    many = f" and person in ({','.join(map(str, range(2000)))})"
    assert client.get(listing(start, more=many)).status_code == 414


def test_empty_last_page(serve: Serve, start: str) -> None:
    pages = serve(empty_last_page=True)[1].pages(listing(start, delta=True))
    assert [len(page["value"]) for page in pages] == [20, 20, 10, 0]
    assert "deltaLink" in pages[-1]


def test_empty_middle_page(serve: Serve, start: str) -> None:
    pages = serve(empty_middle_page=True)[1].pages(listing(start))
    assert [len(page["value"]) for page in pages] == [20, 0, 20, 10]


def test_page_overlap(serve: Serve, start: str) -> None:
    tenant, client = serve(page_overlap=3)
    found = ids(client.pages(listing(start)))
    assert len(found) == 56
    assert found[17:20] == found[20:23]
    assert set(found) == set(tenant.records)


def test_walk_reads_live_data(serve: Serve, start: str) -> None:
    tenant, client = serve()
    first = client.page(listing(start))
    tenant.delete(max(tenant.records))
    later = ids(client.pages(first["nextLink"]))
    assert later == sorted(tenant.records)[20:]


@pytest.mark.parametrize("status", [409, 410])
def test_continuation_expires(serve: Serve, start: str, status: int) -> None:
    tenant, client = serve(stale_continuation_status=status, continuation_lifetime_hours=2)
    link = client.page(listing(start))["nextLink"]
    tenant.clock.advance(hours=2.1)
    client.log_in()
    assert client.get(link).status_code == status


@pytest.mark.parametrize("status", [409, 410])
def test_a_page_may_be_shown_once(serve: Serve, start: str, status: int) -> None:
    _, client = serve(pages_rereadable=False, stale_continuation_status=status)
    link = client.page(listing(start))["nextLink"]
    assert [client.get(link).status_code for _ in range(2)] == [200, status]


def test_continuation_for_ever(serve: Serve, start: str) -> None:
    tenant, client = serve(continuation_lifetime_hours=None)
    link = client.page(listing(start))["nextLink"]
    tenant.clock.advance(days=400)
    client.log_in()
    assert client.get(link).status_code == 200


@pytest.mark.parametrize(
    ("old", "new"), [("continuationToken=", "continuationToken=x"), ("ge", "le")]
)
def test_continuation_is_bound_to_its_walk(serve: Serve, start: str, old: str, new: str) -> None:
    _, client = serve()
    link = client.page(listing(start))["nextLink"]
    assert client.get(link.replace(old, new, 1)).status_code in (400, 409)


def test_extra_fields(serve: Serve, start: str) -> None:
    _, client = serve(extra_fields={"costCentre": "C1"})
    records: list[dict[str, Any]] = client.page(listing(start))["value"]
    assert {record["costCentre"] for record in records} == {"C1"}


@pytest.mark.parametrize(("end", "status"), [(f"{YEAR}-12-31", 200), (f"{YEAR + 1}-01-05", 400)])
def test_a_list_takes_a_year_at_most(serve: Serve, end: str, status: int) -> None:
    """Except of assignments, whose page names no maximum."""
    _, client = serve()
    client.log_in(scope="connector-protimeapi-clockings.read")
    link = listing(f"{YEAR}-01-01", end).replace("assignments", "clockings")
    assert client.get(link).status_code == status


def test_a_nextlink_keeps_the_references_of_a_list(serve: Serve, start: str) -> None:
    _, client = serve()
    link = f"{listing(start)}&externalReferences=(people,@badge-number)"
    people = [row["person"] for page in client.pages(link) for row in page["value"]]
    assert all("externalReferences" in person for person in people)
