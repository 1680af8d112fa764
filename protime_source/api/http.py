"""One HTTP client per run: connections, a limit on requests, and sessions with a token."""

from __future__ import annotations

import http
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError
from urllib3.util import make_headers

from protime_source.api.auth import ClientCredentials
from protime_source.api.links import resolve_link
from protime_source.api.redaction import redact, redact_http_logs, redacted_url
from protime_source.api.responses import Response, decode_body, raise_for_status, status_line
from protime_source.api.retry import RetryPolicy, raise_if_temporary, send_with_token
from protime_source.errors import (
    NotConnectedError,
    ProtimeError,
    SettingsError,
    TooLargeError,
    UnavailableError,
    UntrustedCertificateError,
    causes,
    first_line,
)
from protime_source.settings import Settings

MAX_CONCURRENT_REQUESTS = 4
"""Protime limits concurrent requests; the limit is not documented."""

MAX_BODY_BYTES = 256 * 2**20
"""The most that is read of a response, decompressed: room for 100,000 records with comments of
2,000 characters, and small enough that a small machine survives a response without end."""

_PIECE_BYTES = 2**20
_COMPRESSED_PIECE_BYTES = 65_521
"""Older urllib3 decompress a whole piece at once: a thousandfold, 64 MiB. A prime, because urllib3
2.8 on Python 3.14 reads the rest twice when a piece ends where one of several gzip members does,
and these have sizes like 64 KiB."""

_BEFORE_SENDING = (NewConnectionError, ConnectTimeoutError, ProxyError)
"""What urllib3 raises only while it connects, before it sends anything of a request."""

T = TypeVar("T")


class RateLimiter:
    """Lets a limited number of requests run at once, and none while Protime asks to wait.

    Args:
        limit: The number of concurrent requests.
    """

    def __init__(self, limit: int = MAX_CONCURRENT_REQUESTS) -> None:
        self._slots = threading.BoundedSemaphore(limit)
        self._paused_until = 0.0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for a free slot and for the end of a pause; holds the slot within the context."""
        with self._slots:
            self.wait()
            yield

    def wait(self) -> None:
        """Waits until no pause is left."""
        while (left := self._paused_until - time.monotonic()) > 0:
            time.sleep(left)

    def pause(self, seconds: float) -> None:
        """Starts no request for some time: a 429 concerns all collections."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)


class HttpClient:
    """The connections, tokens and rate limit of one run. Thread-safe.

    Use it as a context manager, or call `close`. A request after `close` opens new connections.

    Args:
        settings: The tenant.
    """

    def __init__(self, settings: Settings) -> None:
        redact_http_logs()
        self._settings = settings
        self._pools = _ConnectionPools()
        self._limiter = RateLimiter()
        self._retry = RetryPolicy(pause_all=self._limiter.pause)
        self._headers = {
            "User-Agent": settings.user_agent,
            "Accept": "application/json",
            "Accept-Encoding": make_headers(accept_encoding=True)["accept-encoding"],
        }
        self._credentials: dict[tuple[str, ...], ClientCredentials] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._pools.close()

    def session(self, scopes: Sequence[str]) -> ApiSession:
        """Returns a session whose token has the given scopes.

        Sessions with the same scopes share one token.
        """
        key = tuple(scopes)
        with self._lock:
            if key not in self._credentials:
                self._credentials[key] = ClientCredentials(self._settings, key, self._post_form)
            credentials = self._credentials[key]
        return ApiSession(
            self._settings.api_origin, credentials, self._limiter, self._retry, self._send
        )

    def _post_form(self, url: str, form: dict[str, str]) -> Response:
        """Posts a form, with retries. Takes no slot: the request that needs the token holds one."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()

        def post() -> Response:
            response = self._send("POST", url, headers, body)
            raise_if_temporary(response, url)
            return response

        return self._retry.fetch_token(post)

    def _send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Response:
        """Sends one request, once, and reads its response, whatever its status."""
        scheme, host, path, query, _ = urlsplit(url)
        try:
            pool, prefix = self._pools.find(f"{scheme}://{host}")
            with pool.urlopen(
                method,
                prefix + (f"{path}?{query}" if query else path),
                body=body,
                headers=self._headers | headers,
                timeout=self._retry.timeout,
                redirect=False,
                retries=False,
                assert_same_host=False,  # a proxy's pool belongs to another host
                preload_content=False,
            ) as raw:
                response = Response(raw.status, raw.headers, _read_body(raw, url))
                raw.release_conn()
                return response
        except (HTTPError, OSError) as error:
            failure = _explain_failure(error, url)
        # Raised outside of `except`: the text of the first error holds the whole URL, and its
        # traceback would show that.
        raise failure


class ApiSession:
    """Sends requests to a tenant's API with a token of certain scopes. Thread-safe.

    Made by `HttpClient.session`.

    Args:
        origin: Scheme, host and port of the API.
        credentials: Caches the token.
        limiter: Limits the requests of all sessions.
        retry: Decides what is sent again.
        send: Sends one request and reads its response.
    """

    def __init__(
        self,
        origin: str,
        credentials: ClientCredentials,
        limiter: RateLimiter,
        retry: RetryPolicy,
        send: Callable[[str, str, dict[str, str], bytes | None], Response],
    ) -> None:
        self._origin = origin
        self._credentials = credentials
        self._limiter = limiter
        self._retry = retry
        self._send_single_request = send
        self._count_lock = threading.Lock()
        self._request_count = 0

    @property
    def request_count(self) -> int:
        """All API requests of this session so far, retries included, token requests not."""
        return self._request_count

    def get(self, link: str, decode: Callable[[bytes], T]) -> T:
        """Gets a link and returns its decoded body. A body that is truncated is fetched again.

        Args:
            link: Path or URL, encoded or as Protime sends it.
            decode: Decodes the body; raises `msgspec.DecodeError`.

        Raises:
            ApiError: When there is no usable response.
            SettingsError: When `REQUESTS_CA_BUNDLE` names no file.
        """
        url = resolve_link(link, self._origin)
        return self._retry.run(
            "GET", lambda: decode_body(self._send_checked("GET", url), url, decode)
        )

    def check_link(self, link: str) -> None:
        """Refuses a link that can never be requested.

        Args:
            link: Path or URL, encoded or as Protime sends it.

        Raises:
            ProtocolError: When it leads to another host.
        """
        resolve_link(link, self._origin)

    def authenticate(self) -> None:
        """Fetches the token, unless there is one.

        Raises:
            AuthenticationError: When the credentials or a scope are refused.
            UnavailableError: When the token endpoint gives no usable response.
        """
        self._credentials.token()

    def send(self, method: str, path: str, body: object = None) -> Response:
        """Returns the whole response to a request, mostly to a change.

        A POST is never repeated unless Protime surely did not process it.

        Args:
            method: `POST`, `PUT`, `DELETE` or `GET`.
            path: Path on the API host.
            body: The content, encoded as JSON.

        Raises:
            ApiError: When Protime does not accept it.
            SettingsError: When `REQUESTS_CA_BUNDLE` names no file.
        """
        url = resolve_link(path, self._origin)
        encoded = None if body is None else msgspec.json.encode(body)
        return self._retry.run(
            method,
            lambda: self._send_checked(method, url, encoded),
            if_deleted=Response(http.HTTPStatus.NO_CONTENT),
        )

    def _send_checked(self, method: str, url: str, body: bytes | None = None) -> Response:
        """Sends a request and raises an error unless its status is a success."""
        response = self._send_limited(method, url, body)
        raise_if_temporary(response, url)
        raise_for_status(response, url)
        return response

    def _send_limited(self, method: str, url: str, body: bytes | None) -> Response:
        """Sends a request with a token, within the limit on concurrent requests."""
        with self._limiter.slot():
            return send_with_token(
                lambda token: self._send_counted(method, url, body, token), self._credentials
            )

    def _send_counted(self, method: str, url: str, body: bytes | None, token: str) -> Response:
        """Sends a single request and counts it, whatever its outcome."""
        with self._count_lock:
            self._request_count += 1
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self._send_single_request(method, url, headers, body)


class _ConnectionPools(HTTPAdapter):
    """One pool of connections per origin, with the environment's proxy and certificates.

    requests resolves proxy and TLS; urllib3 sends in half the time of a session of requests.
    A password in `.netrc` is never sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, tuple[HTTPConnectionPool, str]] = {}

    def find(self, origin: str) -> tuple[HTTPConnectionPool, str]:
        """Returns the pool of an origin, and the prefix of its paths: a proxy needs the origin.

        Raises:
            OSError: When `REQUESTS_CA_BUNDLE` names no file, or a proxy's address is not valid.
        """
        if origin not in self._found:
            request = requests.Request("GET", origin).prepare()
            with requests.Session() as session:
                resolved = session.merge_environment_settings(origin, {}, None, None, None)
            proxies, verify = resolved["proxies"], resolved["verify"]
            pool = self.get_connection_with_tls_context(request, verify, proxies=proxies)
            self.cert_verify(pool, origin, verify, None)  # type: ignore[no-untyped-call]
            needs_origin = self.request_url(request, proxies) != request.path_url
            self._found[origin] = pool, origin if needs_origin else ""
        return self._found[origin]

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Makes a pool whose connections print no headers and forms at any debug level."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _without_debug_output(pool.ConnectionCls)
        return pool

    def close(self) -> None:
        """Closes all connections."""
        self._found.clear()
        super().close()


@cache
def _without_debug_output(connection: type[HTTPConnection]) -> type[HTTPConnection]:
    if connection.__dict__.get("debuglevel") == 0:
        return connection
    return type(connection.__name__, (connection,), {"debuglevel": 0})


def _read_body(response: BaseHTTPResponse, url: str) -> bytes:
    """Returns the body; refuses one larger than `MAX_BODY_BYTES` without reading the rest."""
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and float(announced) > MAX_BODY_BYTES:
        raise _too_large(response, url)
    is_compressed = "Content-Encoding" in response.headers
    # Not a list of pieces: tiny pieces would cost far more memory than they hold. Closed at the
    # end, so that an error's traceback does not keep the content alive.
    with io.BytesIO() as body:
        for piece in response.stream(_COMPRESSED_PIECE_BYTES if is_compressed else _PIECE_BYTES):
            if body.tell() + len(piece) > MAX_BODY_BYTES:
                raise _too_large(response, url)
            body.write(piece)
        return body.getvalue()


def _too_large(response: BaseHTTPResponse, url: str) -> TooLargeError:
    return TooLargeError(
        f"{redacted_url(url)} answered {status_line(response.status)} with more than"
        f" {MAX_BODY_BYTES // 2**20} MiB; the rest was not read. No response of Protime's should be"
        " that large: check api_url and token_url, and ask Protime if they are right."
    )


def _explain_failure(error: Exception, url: str) -> ProtimeError:
    """Returns our error for a request that got no response."""
    chain = list(causes(error))
    cause = chain[-1]  # requests and urllib3 wrap it several times, with the whole URL
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UntrustedCertificateError(
            f"{redacted_url(url)} shows a certificate that is not trusted ({cause.verify_message});"
            " nothing was sent to it. If your network inspects TLS, name the file of its authority"
            " in REQUESTS_CA_BUNDLE; if not, check tenant, environment and api_url."
        )
    reason = redact(first_line(cause))
    if not isinstance(error, (HTTPError, requests.RequestException)):
        return SettingsError(f"{reason}. Nothing was sent; check REQUESTS_CA_BUNDLE.")
    was_sent = not any(isinstance(each, _BEFORE_SENDING) for each in chain)
    return (UnavailableError if was_sent else NotConnectedError)(
        f"{redacted_url(url)} cannot be reached ({reason}). Check the network, tenant, environment,"
        " api_url and token_url."
    )
