"""The OAuth2 client-credentials token (documentation: reference/authentication)."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from protime_source.api.redaction import hide, redact
from protime_source.api.responses import Answer, place, status_line
from protime_source.errors import AuthenticationError, ScopeError, UnavailableError
from protime_source.settings import Settings

EXPIRY_MARGIN = 60
"""Seconds before its end at which a token is renewed, so that none dies on the way."""

DOCUMENTED_LIFETIME = 1800.0
"""Seconds a token lives unless its answer says otherwise (reference/authentication)."""

_TOKEN = re.compile(r"[!-~]+")

Post = Callable[..., Answer]
"""Sends one form to the token endpoint, and again when the way there fails."""


class ClientCredentials:
    """Has a token for each request; one serves all requests and threads.

    dlt's own `OAuth2ClientCredentials` has neither margin nor lock nor an answer to a 401:
    eight threads fetched eight tokens.

    Args:
        settings: Where and as whom to ask.
        scopes: Just the scopes in use, for example `connector-protimeapi-assignments.read`.
        post: How to post the form; raises `UnavailableError` when nobody answers.
    """

    def __init__(self, settings: Settings, scopes: Sequence[str], post: Post) -> None:
        self._settings = settings
        self._scopes = tuple(scopes)
        self._post = post
        self._lock = threading.Lock()
        self._token = ""
        self._expires = 0.0

    def token(self) -> str:
        """The current token, fetched or renewed when it is due.

        Raises:
            AuthenticationError: When the credentials or a scope are refused.
            UnavailableError: When the token endpoint gives no usable answer.
        """
        with self._lock:
            if time.monotonic() >= self._expires:
                self._fetch()
            return self._token

    def forget(self, token: str) -> None:
        """Drops a token that was refused, unless another thread has renewed it already."""
        with self._lock:
            if token == self._token:
                self._expires = 0.0

    def _fetch(self) -> None:
        hide(self._settings.client_secret)
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "scope": " ".join(self._scopes),
        }
        asked = time.monotonic()
        response = self._post(self._settings.token_endpoint, data=form)
        answer = _read(response)
        token = str(answer.get("access_token") or "")
        hide(token)
        # What cannot stand in a header would be shown, token and all, by the error it causes there.
        if not response.ok or not _TOKEN.fullmatch(token):
            raise self._refusal(response.status, answer)
        self._check_scopes(answer.get("scope"))
        self._token = token
        lifetime = _lifetime(answer.get("expires_in"))
        # A lifetime shorter than the margin must not mean a new token for every request.
        self._expires = asked + max(lifetime - EXPIRY_MARGIN, lifetime / 2)

    def _refusal(self, status: int, answer: dict[str, Any]) -> AuthenticationError:
        if status == HTTPStatus.NOT_FOUND:
            return AuthenticationError(
                f"{place(self._settings.token_endpoint)} answered {status_line(status)}: Protime"
                f" does not know the tenant {self._settings.tenant}. Check tenant, environment and,"
                " if it is set, token_url under [sources.protime]."
            )
        said = answer.get("error_description") or answer.get("error") or status_line(status)
        reason = redact(" ".join(str(said).split()))
        if answer.get("error") == "invalid_scope":
            return self._scope_refused(self._scopes, reason)
        return AuthenticationError(
            f"Protime refuses the credentials of tenant {self._settings.tenant} ({reason})."
            " Check client_id, client_secret, tenant and environment under"
            " [sources.protime]."
        )

    def _check_scopes(self, granted: object) -> None:
        """A token without the scope would only fail later, and less clearly."""
        if not isinstance(granted, str) or not granted:
            return
        if missing := [scope for scope in self._scopes if scope not in granted.split()]:
            raise self._scope_refused(missing, "not granted")

    def _scope_refused(self, scopes: Sequence[str], reason: str) -> ScopeError:
        return ScopeError(
            f"Protime does not give this client the scope {' '.join(scopes)} ({reason})."
            " Ask Protime to add it to the client."
        )


def _lifetime(expires_in: object) -> float:
    """Seconds; half an hour, the documented lifetime, when the answer does not say."""
    try:
        return max(0.0, float(str(expires_in)))
    except ValueError:
        return DOCUMENTED_LIFETIME


def _read(response: Answer) -> dict[str, Any]:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        if response.ok:
            raise UnavailableError(
                f"The token endpoint answered {response.status} without JSON. Check token_url."
            ) from error
        return {}
    return answer if isinstance(answer, dict) else {}
