"""What all collections of a source share: connections, tokens, and a limit on requests."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Self
from urllib.parse import urlencode, urlsplit

import requests
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import RuntimeConfiguration
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
)
from tenacity.wait import wait_random_exponential
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

from protime_source.api.auth import ClientCredentials
from protime_source.api.redaction import redact, redact_http_logs
from protime_source.api.responses import Answer, RateLimitedError, place, raise_if_passing, read
from protime_source.api.routes import Routes
from protime_source.errors import ProtimeError, SettingsError, UnavailableError, first_line
from protime_source.settings import Settings

progress = logging.getLogger("protime_source.progress")

IN_FLIGHT = 4
"""Requests that are on their way at once. Protime limits them; how many is not documented."""


SILENT = 5.0
"""Seconds of asking again before it is told."""


class Gate:
    """Lets so many requests through at once, and none while Protime asks to wait.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int = IN_FLIGHT) -> None:
        self._free = threading.BoundedSemaphore(limit)
        self._opens = 0.0

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Waits for its turn, and keeps it for as long as the context lasts."""
        with self._free:
            self.wait()
            yield

    def wait(self) -> None:
        """Waits for as long as the gate is closed."""
        while (left := self._opens - time.monotonic()) > 0:
            time.sleep(left)

    def close_for(self, seconds: float) -> None:
        """Lets nobody through for some time: a 429 is meant for all collections."""
        self._opens = max(self._opens, time.monotonic() + seconds)


class Connection:
    """The way to one tenant, safe to share between threads.

    Patience is dlt's: `runtime.request_max_attempts`, `request_backoff_factor`,
    `request_max_retry_delay` and `request_timeout`.

    Args:
        settings: The tenant.
    """

    def __init__(self, settings: Settings) -> None:
        redact_http_logs()
        self._settings = settings
        self._patience = resolve_configuration(RuntimeConfiguration())
        self._routes = Routes()
        self._headers = {
            "User-Agent": settings.user_agent,
            "Accept": "application/json",
            "Accept-Encoding": make_headers(accept_encoding=True)["accept-encoding"],
        }
        self._credentials: dict[tuple[str, ...], ClientCredentials] = {}
        self._lock = threading.Lock()
        self._users = 0
        self._gate = Gate()

    def open(self) -> Self:
        """Counts one more user."""
        with self._lock:
            self._users += 1
        return self

    def close(self) -> None:
        """Closes the connections when nobody uses them any more."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._routes.close()

    def credentials(self, scopes: Sequence[str]) -> ClientCredentials:
        """The token of some scopes; collections with the same scopes share one."""
        with self._lock:
            found = self._credentials.get(tuple(scopes))
            if found is None:
                found = ClientCredentials(self._settings, scopes, self._post_form)
                self._credentials[tuple(scopes)] = found
            return found

    def exchange(
        self,
        method: str,
        url: str,
        *,
        auth: ClientCredentials | None = None,
        body: bytes | None = None,
        kind: str = "application/json",
    ) -> Answer:
        """Sends one request and reads its answer, whatever its status.

        A 401 renews the token, and it is sent once more (reference/responses).

        Args:
            method: HTTP's.
            url: Where to, encoded.
            auth: What signs it; without, it waits for no turn: the token must not wait for another.
            body: What goes out.
            kind: Its content type.

        Raises:
            UnavailableError: When nobody answers.
            SettingsError: When `REQUESTS_CA_BUNDLE` names no file.
            AuthenticationError: When there is no token.
        """
        own = {} if body is None else {"Content-Type": kind}
        if auth is None:
            return self._send(method, url, own, body)
        with self._gate.passed():
            token = auth.token()
            answer = self._send(method, url, own | _bearer(token), body)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                return answer
            auth.forget(token)
            again = self._send(method, url, own | _bearer(auth.token()), body)
            return replace(again, requests=2)

    def _send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
        scheme, host, path, query, _ = urlsplit(url)
        target = f"{path}?{query}" if query else path
        try:
            route = self._routes.to(f"{scheme}://{host}")
            timeout = self._patience.request_timeout
            with route.send(method, target, self._headers | headers, body, timeout) as response:
                answer = read(response, url)
                response.release_conn()
                return answer
        except (HTTPError, OSError) as error:
            failure = _failure(error, url)
        # Not raised from the error: its text has the whole URL, and a traceback would show it.
        raise failure

    def retrying(self) -> Retrying:
        """Asks again for what may pass, with patience."""
        return Retrying(
            stop=stop_after_attempt(self._patience.request_max_attempts),
            wait=self._wait,
            retry=retry_if_exception_type(UnavailableError) & _MAY_PASS,
            before_sleep=self._tell,
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        """As long as `Retry-After` says, or randomly longer each time."""
        longest = self._patience.request_max_retry_delay
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnavailableError) and error.retry_after is not None:
            seconds = min(error.retry_after, longest)
        else:
            factor = self._patience.request_backoff_factor
            seconds = wait_random_exponential(multiplier=factor, max=longest)(state)
        if isinstance(error, RateLimitedError):
            self._gate.close_for(seconds)
        return seconds

    def _tell(self, state: RetryCallState) -> None:
        """Nobody should wonder whether a run hangs; what passes soon is not worth a line."""
        if (seconds := state.seconds_since_start or 0) > SILENT:
            progress.info(
                "no usable answer for %d seconds: asked again, %d of %d times",
                seconds,
                state.attempt_number,
                self._patience.request_max_attempts - 1,
            )

    def _post_form(self, url: str, data: dict[str, str]) -> Answer:
        form = urlencode(data).encode()

        def once() -> Answer:
            answer = self.exchange("POST", url, body=form, kind=_FORM)
            raise_if_passing(answer, url)
            return answer

        try:
            return self.retrying()(once)
        except UnavailableError as error:
            raise _NoTokenError(str(error)) from None


class _NoTokenError(UnavailableError):
    """The token endpoint gave no answer, and was asked often enough."""


class _UntrustedError(UnavailableError):
    """Whoever answers cannot prove who it is; asking again changes nothing."""


_FORM = "application/x-www-form-urlencoded"

_MAY_PASS = retry_if_not_exception_type((_NoTokenError, _UntrustedError))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _failure(error: Exception, url: str) -> ProtimeError:
    """What keeps a request from being answered."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _UntrustedError(
            f"{place(url)} shows a certificate that is not trusted ({cause.verify_message});"
            " nothing was sent to it. If your network inspects TLS, name the file of its authority"
            " in REQUESTS_CA_BUNDLE; if not, check tenant, environment and api_url."
        )
    reason = redact(first_line(cause))
    if not isinstance(error, (HTTPError, requests.RequestException)):
        return SettingsError(f"{reason}. Nothing was sent; check REQUESTS_CA_BUNDLE.")
    return UnavailableError(
        f"{place(url)} cannot be reached ({reason}). Check the network, tenant, environment,"
        " api_url and token_url."
    )


def _innermost(error: BaseException) -> BaseException:
    """The reason itself: requests and urllib3 wrap it several times, with the whole URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


class HttpClient:
    def __init__(self, settings):
        self._c = Connection(settings).open()
        self.settings = settings

    def session(self, scopes):
        from protime_source.api.transport import Transport

        class S(Transport):
            @property
            def request_count(self):
                return self.requests

            @request_count.setter
            def request_count(self, v):
                self.requests = v

        return S(self.settings, scopes, self._c)

    def close(self):
        self._c._routes.close()


ApiSession = object
