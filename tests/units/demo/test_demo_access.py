from __future__ import annotations

from base64 import urlsafe_b64decode

import pytest
import requests

from .client import READ, ROOT, WRITE, listing
from .conftest import Serve


def test_token_has_the_documented_form(serve: Serve) -> None:
    answer = serve()[1].ask_token().json()
    assert (answer["expires_in"], answer["token_type"]) == (1800, "Bearer")
    assert answer["scope"].split() == [READ, WRITE]
    assert len(answer["access_token"].split(".")) == 3
    assert b"RS256" in urlsafe_b64decode(answer["access_token"].split(".")[0] + "==")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "wrong"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": "connector-protimeapi-terminals.read"}, "invalid_scope"),
    ],
)
def test_token_refused(serve: Serve, changes: dict[str, str], error: str) -> None:
    answer = serve()[1].ask_token(**changes)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_unknown_scope_omitted(serve: Serve) -> None:
    _, client = serve(unknown_scope="omit")
    assert client.ask_token(scope=f"{READ} other.read").json()["scope"] == READ


@pytest.mark.parametrize("status", [401, 403])
def test_missing_scope(serve: Serve, start: str, status: int) -> None:
    _, client = serve(missing_scope_status=status)
    client.log_in(scope=WRITE)
    assert client.get(listing(start)).status_code == status


def test_write_scope_for_writes(serve: Serve) -> None:
    tenant, client = serve()
    client.log_in(scope=READ)
    assert client.call("DELETE", f"{ROOT}/assignments/{min(tenant.records)}").status_code == 403


def test_no_token(serve: Serve, start: str) -> None:
    _, client = serve()
    del client.http.headers["Authorization"]
    answer = client.get(listing(start))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")


def test_token_expires(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.clock.advance(seconds=1790)
    assert client.get(listing(start)).status_code == 200
    tenant.clock.advance(seconds=20)
    assert client.get(listing(start)).status_code == 401


def test_token_lifetime(serve: Serve) -> None:
    assert serve(token_lifetime=60)[1].ask_token().json()["expires_in"] == 60


def test_revoked_until_a_new_one(serve: Serve, start: str) -> None:
    tenant, client = serve()
    tenant.revoke_tokens()
    assert client.get(listing(start)).status_code == 401
    client.log_in()
    assert client.get(listing(start)).status_code == 200


def test_feature_disabled(serve: Serve, start: str) -> None:
    _, client = serve(feature_disabled=True)
    answer = client.get(listing(start))
    assert answer.status_code == 403
    assert "Planning Flex" in answer.json()["error"]["message"]


@pytest.mark.parametrize("agent", ["python-requests/2.32", "Name (Company)", ""])
def test_user_agent_required(serve: Serve, start: str, agent: str) -> None:
    _, client = serve()
    client.http.headers["User-Agent"] = agent
    assert client.get(listing(start)).status_code == 400


def test_user_agent_not_required(serve: Serve, start: str) -> None:
    _, client = serve(require_user_agent=False)
    client.http.headers["User-Agent"] = "anything"
    assert client.get(listing(start)).status_code == 200


def test_other_tenant_is_unknown(serve: Serve) -> None:
    _, client = serve()
    url = client.server.token_url.replace("/demo/", "/other/")
    assert requests.post(url, timeout=5).status_code == 404
