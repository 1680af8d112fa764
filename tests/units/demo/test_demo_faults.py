from __future__ import annotations

import gzip
import json

import pytest
import requests

from protime_source.demo import Fault

from .client import FIELDS, ROOT, listing
from .conftest import Serve


def test_status(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("status", status=429, retry_after=2))
    answer = client.get(listing(start))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    assert answer.json()["error"]["code"] == "TooManyRequests"
    assert client.get(listing(start)).status_code == 200


def test_status_with_a_body(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("status", status=503, body="<b>down</b>", content_type="text/html"))
    answer = client.get(listing(start))
    assert (answer.text, answer.headers["Content-Type"]) == ("<b>down</b>", "text/html")


def test_status_with_headers(serve: Serve, start: str) -> None:
    tenant, client = serve()
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    tenant.faults.append(Fault("status", body=gzip.compress(b"packed"), headers=headers))
    answer = client.get(listing(start))
    assert (answer.text, answer.headers["Content-Type"]) == ("packed", "text/plain")


def test_times_and_after(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("status", status=500, times=2, after=1))
    statuses = [client.get(listing(start)).status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    assert tenant.faults == []


def test_where(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("status", status=500, where="continuationToken"))
    first = client.page(listing(start))
    assert client.get(first["nextLink"]).status_code == 500


def test_token_requests_only_when_named(serve: Serve) -> None:
    tenant, client = serve()
    tenant.faults += [Fault("status", status=500), Fault("status", status=502, where="/connect/")]
    assert client.ask_token().status_code == 502
    assert client.ask_token().status_code == 200


@pytest.mark.parametrize("kind", ["drop", "cut"])
def test_broken_connection(serve: Serve, start: str, kind: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault(kind))  # type: ignore[arg-type]
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.get(listing(start))
    assert [request.status for request in tenant.requests] == [0 if kind == "drop" else 200]
    assert client.get(listing(start)).status_code == 200


def test_cut_answer_has_used_the_link(serve: Serve, start: str) -> None:
    tenant, client = serve(links_rereadable=False)
    link = client.start(start)
    tenant.faults.append(Fault("cut"))
    with pytest.raises(requests.exceptions.RequestException):
        client.get(link)
    assert client.get(link).status_code == 410


def test_cut_answer_to_a_write_that_was_done(serve: Serve) -> None:
    tenant, client = serve(rows=0)
    tenant.faults.append(Fault("cut"))
    with pytest.raises(requests.ConnectionError):
        client.call("POST", f"{ROOT}/assignments", FIELDS)
    assert len(tenant.records) == 1


def test_truncated_json(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("truncated_json"))
    answer = client.get(listing(start))
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.content)


def test_html(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("html"))
    answer = client.get(listing(start))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_expired_token(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("expired_token"))
    assert [client.get(listing(start)).status_code for _ in range(2)] == [401, 200]


def test_redirect(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("redirect", location="http://elsewhere.invalid/x"))
    answer = client.get(listing(start))
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://elsewhere.invalid/x")


@pytest.mark.parametrize(("status", "answered"), [(301, 301), (308, 308), (500, 302), (200, 302)])
def test_redirect_with_a_status(serve: Serve, start: str, status: int, answered: int) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("redirect", status=status))
    assert client.get(listing(start)).status_code == answered


@pytest.mark.parametrize("style", ["plain", "absolute"])
def test_foreign_link(serve: Serve, start: str, style: str) -> None:
    tenant, client = serve(link_style=style)
    tenant.faults.append(Fault("foreign_link", location="http://elsewhere.invalid"))
    page = client.page(listing(start))
    assert page["nextLink"].startswith("http://elsewhere.invalid/connector/")
    assert len(page["value"]) == 20


def test_loop(serve: Serve, start: str) -> None:
    tenant, client = serve()
    link = client.page(listing(start, delta=True))["nextLink"]
    tenant.faults.append(Fault("loop"))
    assert client.page(link)["nextLink"] == link


def test_chain(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("chain", times=3))
    pages = [client.page(listing(start)) for _ in range(3)]
    assert [page["value"] for page in pages] == [[], [], []]
    assert len({page["nextLink"] for page in pages}) == 3


@pytest.mark.parametrize("size", [1, 2**20, 2**21 + 1])
def test_endless(serve: Serve, start: str, size: int) -> None:
    tenant, client = serve()
    tenant.faults.append(Fault("endless", status=503, size=size))
    answer = client.get(listing(start))
    assert (answer.status_code, answer.content) == (503, b" " * size)
    assert "Content-Length" not in answer.headers
    assert client.get(listing(start)).status_code == 200
