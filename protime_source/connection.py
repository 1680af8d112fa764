"""What all collections of a source share: connections, tokens, and a limit on requests."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Self

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

from protime_source.answers import Answer, RateLimitedError, place, raise_if_passing, read
from protime_source.auth import ClientCredentials
from protime_source.errors import ProtimeError, SettingsError, UnavailableError
from protime_source.redaction import QuietAdapter, redact, redact_http_logs
from protime_source.settings import Settings, first_line

IN_FLIGHT = 4
"""Requests that are on their way at once. Protime limits them; how many is not documented."""


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
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, QuietAdapter())
        self._session.headers["User-Agent"] = settings.user_agent
        self._session.headers["Accept"] = "application/json"
        self._found: dict[str, dict[str, Any]] = {}
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
                self._session.close()

    def credentials(self, scopes: Sequence[str]) -> ClientCredentials:
        """The token of some scopes; collections with the same scopes share one."""
        with self._lock:
            found = self._credentials.get(tuple(scopes))
            if found is None:
                found = ClientCredentials(self._settings, scopes, self._post_form)
                self._credentials[tuple(scopes)] = found
            return found

    def exchange(self, method: str, url: str, **options: Any) -> Answer:
        """Sends one request and reads its answer, whatever its status.

        Raises:
            UnavailableError: When nobody answers.
            SettingsError: When `REQUESTS_CA_BUNDLE` names no file.
        """
        # A token is asked for by a request that has its turn: it must not wait for another.
        turn = self._gate.passed() if "auth" in options else nullcontext()
        try:
            with (
                turn,
                self._session.request(
                    method,
                    url,
                    timeout=self._patience.request_timeout,
                    allow_redirects=False,
                    stream=True,
                    **self._surroundings(url.partition("?")[0]),
                    **options,
                ) as response,
            ):
                return read(response, url)
        except OSError as error:
            failure = _failure(error, url)
        # Not raised from the error: its text has the whole URL, and a traceback would show it.
        raise failure

    def retrying(self) -> Retrying:
        """Asks again for what may pass, with patience."""
        return Retrying(
            stop=stop_after_attempt(self._patience.request_max_attempts),
            wait=self._wait,
            retry=retry_if_exception_type(UnavailableError) & _MAY_PASS,
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

    def _post_form(self, url: str, data: dict[str, str]) -> Answer:
        def once() -> Answer:
            answer = self.exchange("POST", url, data=data)
            raise_if_passing(answer, url)
            return answer

        try:
            return self.retrying()(once)
        except UnavailableError as error:
            raise _NoTokenError(str(error)) from None

    def _surroundings(self, url: str) -> dict[str, Any]:
        """Proxies and certificates by the environment, read once: requests does it each time.

        A password from `.netrc` is never sent.
        """
        if url not in self._found:
            session = requests.Session()
            found = session.merge_environment_settings(url, {}, None, None, None)
            self._found[url] = {name: found[name] for name in ("proxies", "verify")}
        return self._found[url]


class _NoTokenError(UnavailableError):
    """The token endpoint gave no answer, and was asked often enough."""


class _UntrustedError(UnavailableError):
    """Whoever answers cannot prove who it is; asking again changes nothing."""


_MAY_PASS = retry_if_not_exception_type((_NoTokenError, _UntrustedError))


def _failure(error: OSError, url: str) -> ProtimeError:
    """What keeps a request from being answered."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _UntrustedError(
            f"{place(url)} shows a certificate that is not trusted ({cause.verify_message});"
            " nothing was sent to it. If your network inspects TLS, name the file of its authority"
            " in REQUESTS_CA_BUNDLE; if not, check tenant, environment and api_url."
        )
    reason = redact(first_line(cause))
    if not isinstance(error, requests.RequestException):
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
