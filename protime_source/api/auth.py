"""The OAuth2 client-credentials token (documentation: reference/authentication)."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from protime_source.api.redaction import quoted, redacted_url, register_secret
from protime_source.api.responses import Response, status_line
from protime_source.errors import AuthenticationError, ScopeError, UnavailableError
from protime_source.settings import Settings

EXPIRY_MARGIN_SECONDS = 60
"""A token is renewed this long before it expires, so that none expires during a request."""

DOCUMENTED_LIFETIME_SECONDS = 1800.0
"""Lifetime of a token unless its response names another (reference/authentication)."""

_TOKEN = re.compile(r"[!-~]+")

PostForm = Callable[[str, dict[str, str]], Response]
"""Posts a form to a URL, with retries."""


class ClientCredentials:
    """Caches one access token and renews it before it expires. Thread-safe.

    dlt's own `OAuth2ClientCredentials` has no margin, no lock and no renewal after a 401: eight
    threads fetched eight tokens.

    Args:
        settings: Token endpoint and client.
        scopes: Exactly the scopes in use, for example `connector-protimeapi-assignments.read`.
        post_form: Posts the form; raises `UnavailableError` when there is no usable response.
    """

    def __init__(self, settings: Settings, scopes: Sequence[str], post_form: PostForm) -> None:
        register_secret(settings.client_secret)
        self._settings = settings
        self._scopes = tuple(scopes)
        self._post_form = post_form
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    def token(self) -> str:
        """Returns the current token; fetches a new one first when it is due.

        Raises:
            AuthenticationError: When the credentials or a scope are refused.
            UnavailableError: When the token endpoint gives no usable response.
        """
        with self._lock:
            if time.monotonic() >= self._renew_at:
                self._fetch()
            return self._token

    def forget(self, token: str) -> None:
        """Drops a refused token, unless another thread has renewed it already."""
        with self._lock:
            if token == self._token:
                self._renew_at = 0.0

    def _fetch(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "scope": " ".join(self._scopes),
        }
        requested_at = time.monotonic()
        response = self._post_form(self._settings.token_endpoint, form)
        fields = _parse(response)
        token = str(fields.get("access_token") or "")
        register_secret(token, expires=True)
        # A token that is not valid in a header would be shown by the error it causes there.
        if not response.ok or not _TOKEN.fullmatch(token):
            raise self._refusal(response.status, fields)
        self._check_scopes(fields.get("scope"))
        self._token = token
        lifetime = _lifetime(fields.get("expires_in"))
        # A lifetime shorter than the margin must not mean a new token for every request.
        self._renew_at = requested_at + max(lifetime - EXPIRY_MARGIN_SECONDS, lifetime / 2)

    def _refusal(self, status: int, fields: dict[str, Any]) -> AuthenticationError:
        tenant = self._settings.tenant
        if status == HTTPStatus.NOT_FOUND:
            return AuthenticationError(
                f"{redacted_url(self._settings.token_endpoint)} answered {status_line(status)}:"
                f" Protime does not know the tenant {tenant}. Check tenant, environment and, if it"
                " is set, token_url under [sources.protime]."
            )
        error = fields.get("error")
        message = fields.get("error_description") or error or status_line(status)
        reason = quoted(str(message))
        if error == "invalid_scope":
            return self._scope_refusal(self._scopes, reason)
        return AuthenticationError(
            f"Protime refuses the credentials of tenant {tenant} ({reason}). Check client_id,"
            " client_secret, tenant and environment under [sources.protime]."
        )

    def _check_scopes(self, granted: object) -> None:
        """Refuses a token without the scope: requests with it would fail, and less clearly."""
        if not isinstance(granted, str) or not granted:
            return
        if missing := [scope for scope in self._scopes if scope not in granted.split()]:
            raise self._scope_refusal(missing, "not granted")

    def _scope_refusal(self, scopes: Sequence[str], reason: str) -> ScopeError:
        return ScopeError(
            f"Protime does not give this client the scope {' '.join(scopes)} ({reason})."
            " Ask Protime to add it to the client."
        )


def _lifetime(expires_in: object) -> float:
    """Returns the lifetime in seconds; the documented one when the response names none."""
    try:
        return max(0.0, float(str(expires_in)))
    except ValueError:
        return DOCUMENTED_LIFETIME_SECONDS


def _parse(response: Response) -> dict[str, Any]:
    """Returns the fields of a token response; none when the response is an error without JSON."""
    try:
        fields = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        if response.ok:
            raise UnavailableError(
                f"The token endpoint answered {response.status} without JSON. Check token_url."
            ) from error
        return {}
    return fields if isinstance(fields, dict) else {}
