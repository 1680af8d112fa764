"""Access tokens (page `reference/authentication/`)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from secrets import compare_digest, token_bytes, token_hex
from typing import Any
from urllib.parse import parse_qsl

from protime_source.demo.behaviour import Behaviour
from protime_source.demo.clock import Clock
from protime_source.demo.messages import Answer, ApiError, Call, json_answer


class Access:
    """The token endpoint, and the check of the tokens it gave."""

    def __init__(self, client_id: str, client_secret: str, clock: Clock) -> None:
        self._client_id, self._client_secret, self._clock = client_id, client_secret, clock
        self._issued: dict[str, tuple[datetime, frozenset[str]]] = {}

    def issue(self, call: Call, how: Behaviour) -> Answer:
        """Answer a request for a token: client credentials, as a form."""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        if not self._is_client(form):
            return json_answer(400, {"error": "invalid_client"})
        if form.get("grant_type") != "client_credentials":
            return json_answer(400, {"error": "unsupported_grant_type"})
        asked = form.get("scope", "").split() or list(how.granted_scopes)
        granted = [scope for scope in asked if scope in how.granted_scopes]
        if how.unknown_scope == "refuse" and granted != asked:
            return json_answer(400, {"error": "invalid_scope"})
        return json_answer(200, self._token(granted, how.token_lifetime))

    def check(self, call: Call, wanted: Sequence[str], how: Behaviour) -> None:
        """Let a call through that has a living token with one of some scopes.

        Raises:
            ApiError: 401 without such a token, `missing_scope_status` when it lacks the scopes.
        """
        kind, _, token = call.headers.get("Authorization", "").partition(" ")
        expiry, scopes = self._issued.get(token, (self._clock.now(), frozenset[str]()))
        if kind != "Bearer" or expiry <= self._clock.now():
            raise ApiError(401, "The access token is missing, unknown or expired.")
        if scopes.isdisjoint(wanted):
            raise ApiError(how.missing_scope_status, f"The scope {wanted[0]} is missing.")

    def revoke(self) -> None:
        """Kill every token given so far."""
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
    """A token of the usual shape; the signature is random, the tenant knows its tokens."""
    header = {"alg": "RS256", "typ": "at+jwt"}
    parts = [json.dumps(part).encode() for part in (header, {**claims, "jti": token_hex(16)})]
    return ".".join(
        urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, token_bytes(256))
    )
