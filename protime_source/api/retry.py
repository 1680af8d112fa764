"""When a request is sent again: the whole retry policy.

| response or error | what happens |
|---|---|
| 429 | all requests of the run pause for `Retry-After`, then this one is sent again |
| 5xx, a web page, a truncated or non-JSON body, a dropped connection | wait, then send again |
| 401 | renew the token and send again, once and at once |
| 404 for a DELETE that was sent again | success: only the first response was lost |
| any other status, an untrusted certificate, no token after retries | an error, at once |

A POST is sent again only after a 429 or a 401: Protime did not process it then. After any other
failure Protime may have created the record, and nothing documents that it would recognise the same
one twice.

Attempts, waits and timeout are dlt's settings: `runtime.request_max_attempts` (5),
`request_backoff_factor` (1), `request_max_retry_delay` (300 seconds) and `request_timeout` (60).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import RuntimeConfiguration
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from protime_source.api.auth import ClientCredentials
from protime_source.api.redaction import redacted_url
from protime_source.api.responses import Response, status_line
from protime_source.errors import (
    NotConnectedError,
    NotFoundError,
    RateLimitedError,
    TokenUnavailableError,
    UnavailableError,
    UntrustedCertificateError,
)

progress = logging.getLogger("protime_source.progress")

SILENT_SECONDS = 5.0
"""Retry silently this long, then log progress."""

_NEVER_RETRIED = (TokenUnavailableError, UntrustedCertificateError)

_NOT_PROCESSED = (NotConnectedError, RateLimitedError, *_NEVER_RETRIED)
"""With these, Protime has not processed the request."""

T = TypeVar("T")


class RetryPolicy:
    """Repeats a request until it succeeds, fails for good, or has used all attempts.

    Args:
        pause_all: Called with the seconds to wait after a 429; holds back all other requests.

    Attributes:
        timeout: Seconds to wait for a connection, and for each piece of a response.
    """

    def __init__(self, pause_all: Callable[[float], None]) -> None:
        runtime = resolve_configuration(RuntimeConfiguration())
        self.timeout: float = runtime.request_timeout
        self._max_attempts = runtime.request_max_attempts
        self._backoff_factor = runtime.request_backoff_factor
        self._max_delay = runtime.request_max_retry_delay
        self._pause_all = pause_all

    def run(self, method: str, request: Callable[[], T], *, if_deleted: T | None = None) -> T:
        """Runs a request, and again as long as its failure is temporary.

        Args:
            method: The HTTP method.
            request: Sends the request; raises `UnavailableError` for a temporary failure.
            if_deleted: Returned when a DELETE is sent again and finds nothing.

        Raises:
            UnavailableError: When all attempts failed; of a kind that means that Protime did not
                process the request only when that is true of all attempts.
            ApiError: When the request fails for good.
        """
        started = time.monotonic()
        attempt, may_be_processed = 0, False
        while True:
            attempt += 1
            try:
                return request()
            except NotFoundError:
                if if_deleted is not None and method == "DELETE" and attempt > 1:
                    return if_deleted
                raise
            except UnavailableError as error:
                retried = RateLimitedError if method == "POST" else UnavailableError
                is_last = isinstance(error, _NEVER_RETRIED) or not isinstance(error, retried)
                if not is_last and attempt >= self._max_attempts:
                    failed = f" All {attempt} attempts failed." if attempt > 1 else ""
                    error.args = (f"{error}{failed}",)
                    is_last = True
                if is_last and may_be_processed and isinstance(error, _NOT_PROCESSED):
                    raise UnavailableError(str(error), error.retry_after) from None
                if is_last:
                    raise
                may_be_processed |= method != "GET" and not isinstance(error, _NOT_PROCESSED)
                delay = self._delay(attempt, error.retry_after)
                if isinstance(error, RateLimitedError):
                    self._pause_all(delay)
            if (seconds := time.monotonic() - started) > SILENT_SECONDS:
                progress.info(
                    "Protime has given no usable response for %d seconds: retry %d of %d",
                    seconds,
                    attempt,
                    self._max_attempts - 1,
                    extra={"event": "retry", "attempt": attempt, "seconds": round(seconds)},
                )
            time.sleep(delay)

    def fetch_token(self, request: Callable[[], Response]) -> Response:
        """Runs a request to the token endpoint; its attempts are not multiplied by a caller's.

        The request is a POST that creates nothing, so it is repeated like a GET.

        Raises:
            TokenUnavailableError: When all attempts failed.
        """
        try:
            return self.run("GET", request)
        except UnavailableError as error:
            raise TokenUnavailableError(str(error)) from None

    def _delay(self, attempt: int, retry_after: float | None) -> float:
        """Returns the seconds that Protime asked for, or a random number of ever more."""
        if retry_after is not None:
            return min(retry_after, self._max_delay)
        longest = min(self._backoff_factor * 2 ** (attempt - 1), self._max_delay)
        return random.uniform(0, longest)  # noqa: S311  # random, so that clients do not retry at once


def send_with_token(send: Callable[[str], Response], credentials: ClientCredentials) -> Response:
    """Sends a request with the current token; after a 401 once more with a new one.

    A token can be withdrawn before it expires (documentation: reference/responses).

    Args:
        send: Sends the request with a token.
        credentials: Caches and renews the token.

    Raises:
        AuthenticationError: When there is no token.
    """
    token = credentials.token()
    response = send(token)
    if response.status == HTTPStatus.UNAUTHORIZED:
        credentials.forget(token)
        response = send(credentials.token())
    return response


def raise_if_temporary(response: Response, url: str) -> None:
    """Raises an error for a response that a retry may improve (documentation: reference/responses).

    Args:
        response: The response.
        url: The requested URL.

    Raises:
        RateLimitedError: For a 429.
        UnavailableError: For a 5xx, or a web page in place of JSON.
    """
    message = f"{redacted_url(url)} answered {status_line(response.status)}."
    retry_after = _retry_after(response.headers.get("Retry-After", ""))
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimitedError(message, retry_after)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnavailableError(message, retry_after)
    is_success = response.status < HTTPStatus.MULTIPLE_CHOICES
    if is_success and "html" in response.headers.get("Content-Type", ""):
        raise UnavailableError(f"{redacted_url(url)} answered with a web page instead of JSON.")


def _retry_after(header: str) -> float | None:
    """Returns the seconds to wait; the header names a number of seconds or a date."""
    try:
        return Retry().parse_retry_after(header)
    except (InvalidHeader, ValueError, OverflowError):
        return None
