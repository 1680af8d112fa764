"""Access tokens of the demo tenant (page `reference/authentication/`)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from secrets import compare_digest, token_bytes, token_hex
from typing import Any
from urllib.parse import parse_qsl

from protime_source.demo.behaviour import Behaviour, Clock
from protime_source.demo.messages import HttpError, Request, Response, json_response


class Access:
    """Issues access tokens and checks them."""

    def __init__(self, client_id: str, client_secret: str, clock: Clock) -> None:
        self._client_id, self._client_secret, self._clock = client_id, client_secret, clock
        self._issued: dict[str, tuple[datetime, frozenset[str]]] = {}

    def issue(self, request: Request, behaviour: Behaviour) -> Response:
        """Issue a token for client credentials, sent as a form."""
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if not self._is_client(form):
            return json_response(400, {"error": "invalid_client"})
        if form.get("grant_type") != "client_credentials":
            return json_response(400, {"error": "unsupported_grant_type"})
        requested = form.get("scope", "").split() or list(behaviour.granted_scopes)
        granted = [scope for scope in requested if scope in behaviour.granted_scopes]
        if behaviour.unknown_scope == "refuse" and granted != requested:
            return json_response(400, {"error": "invalid_scope"})
        return json_response(200, self._token(granted, behaviour.token_lifetime))

    def check(self, request: Request, required: Sequence[str], behaviour: Behaviour) -> None:
        """Check that the request has a valid token with one of the required scopes.

        Raises:
            HttpError: 401 without a valid token, `missing_scope_status` when it lacks the scopes.
        """
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        expiry, scopes = self._issued.get(token, (self._clock.now(), frozenset[str]()))
        if kind != "Bearer" or expiry <= self._clock.now():
            raise HttpError(401, "The access token is missing, unknown or expired.")
        if scopes.isdisjoint(required):
            raise HttpError(behaviour.missing_scope_status, f"The scope {required[0]} is missing.")

    def revoke(self) -> None:
        """Invalidate every token issued so far."""
        self._issued.clear()

    def _is_client(self, form: dict[str, str]) -> bool:
        given = f"{form.get('client_id')}\n{form.get('client_secret')}"
        return compare_digest(given.encode(), f"{self._client_id}\n{self._client_secret}".encode())

    def _token(self, scopes: list[str], lifetime: int) -> dict[str, Any]:
        expiry = self._clock.now() + timedelta(seconds=lifetime)
        token = _jwt(
            {"client_id": self._client_id, "scope": scopes, "exp": int(expiry.timestamp())}
        )
        self._issued[token] = (expiry, frozenset(scopes))
        scope = " ".join(scopes)
        return {
            "access_token": token,
            "expires_in": lifetime,
            "token_type": "Bearer",
            "scope": scope,
        }


def _jwt(claims: dict[str, Any]) -> str:
    """A JWT with a random signature, since the tenant remembers the tokens it issued."""
    header = {"alg": "RS256", "typ": "at+jwt"}
    parts = [json.dumps(part).encode() for part in (header, {**claims, "jti": token_hex(16)})]
    return ".".join(
        urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, token_bytes(256))
    )
