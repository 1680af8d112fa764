"""One tenant over HTTP: sending, and patience."""

from __future__ import annotations

import http
import ssl
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
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

from protime_source.answers import (
    Answer,
    RateLimitedError,
    place,
    raise_if_passing,
    read,
    response_error,
    status_line,
)
from protime_source.auth import ClientCredentials
from protime_source.errors import (
    NotFoundError,
    ProtimeError,
    ProtocolError,
    SettingsError,
    UnavailableError,
)
from protime_source.links import absolute
from protime_source.redaction import QuietAdapter, redact, redact_http_logs
from protime_source.settings import Settings, first_line

T = TypeVar("T")


class Transport:
    """Sends requests to one tenant's API, with its token, and waits out what passes.

    Patience is dlt's: `runtime.request_max_attempts`, `request_backoff_factor`,
    `request_max_retry_delay` and `request_timeout`.

    Args:
        settings: The tenant.
        scopes: The scopes to ask a token for.

    Attributes:
        requests: How many requests reached the API or tried to, without those for tokens.
    """

    def __init__(self, settings: Settings, scopes: Sequence[str]) -> None:
        redact_http_logs()
        self.requests = 0
        self._origin = settings.api_origin
        self._patience = resolve_configuration(RuntimeConfiguration())
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, QuietAdapter())
        self._session.headers["User-Agent"] = settings.user_agent
        self._session.headers["Accept"] = "application/json"
        self._found: dict[str, dict[str, Any]] = {}
        self._auth = ClientCredentials(settings, scopes, self._post_form)

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def get(self, link: str, decode: Callable[[bytes], T]) -> T:
        """Gets a link and decodes its body; a body that cannot be decoded is asked for again.

        Args:
            link: Path or URL, encoded or as Protime sends it.
            decode: Turns the body into what is wanted; raises `msgspec.DecodeError`.

        Raises:
            ApiError: When there is no usable answer.
            SettingsError: When `REQUESTS_CA_BUNDLE` names no file.
        """
        url = absolute(link, self._origin)
        answer: T = self._retrying()(self._get, url, decode)
        return answer

    def send(self, method: str, path: str, body: object = None) -> Answer:
        """Sends a change.

        A create is repeated only where Protime surely did not take it (429): nothing documents
        that it would recognise the same one twice. A delete that was repeated and then finds
        nothing is done: only the answer to it was lost.

        Args:
            method: `POST`, `PUT` or `DELETE`.
            path: Path on the API host.
            body: What goes out as JSON, if anything.

        Raises:
            ApiError: When Protime does not accept it.
        """
        url = absolute(path, self._origin)
        retrying = self._retrying()
        if method == "POST":
            retrying = retrying.copy(retry=retry_if_exception_type(RateLimitedError))
        try:
            return retrying(self._once, method, url, json=body)
        except NotFoundError:
            if method != "DELETE" or retrying.statistics["attempt_number"] == 1:
                raise
        return Answer(http.HTTPStatus.NO_CONTENT)

    def _get(self, url: str, decode: Callable[[bytes], T]) -> T:
        answer = self._once("GET", url)
        try:
            answer.check_text()  # msgspec does not look into what it leaves undecoded
            return decode(answer.content)
        except msgspec.ValidationError as error:
            raise ProtocolError(
                f"{place(url)} answered with JSON that is not as documented: {error}."
            ) from error
        except RecursionError as error:
            raise ProtocolError(
                f"{place(url)} answered with JSON that is nested too deeply to be read."
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            size = len(answer.content)
        raise UnavailableError(
            f"{place(url)} answered with a body that is cut or not JSON ({size} bytes), also after"
            " asking again."
        )

    def _once(self, method: str, url: str, **options: Any) -> Answer:
        self.requests += 1
        answer = self._exchange(method, url, auth=self._auth, **options)
        self.requests += answer.requests - 1
        if 300 <= answer.status < 400:
            raise ProtocolError(
                f"{place(url)} answered {status_line(answer.status)}; a redirect is not"
                " followed, since the access token would travel with it. Check api_url and tenant."
            )
        if not answer.ok:
            raise_if_passing(answer, url)
            raise response_error(answer, url)
        if "html" in answer.headers.get("Content-Type", ""):
            raise UnavailableError(
                f"{place(url)} answered with a web page in place of Protime's answer, also after"
                " asking again."
            )
        return answer

    def _post_form(self, url: str, data: dict[str, str]) -> Answer:
        def once() -> Answer:
            answer = self._exchange("POST", url, data=data)
            raise_if_passing(answer, url)
            return answer

        try:
            return self._retrying()(once)
        except UnavailableError as error:
            raise _NoTokenError(str(error)) from None

    def _exchange(self, method: str, url: str, **options: Any) -> Answer:
        try:
            with self._session.request(
                method,
                url,
                timeout=self._patience.request_timeout,
                allow_redirects=False,
                stream=True,
                **self._surroundings(url.partition("?")[0]),
                **options,
            ) as response:
                return read(response, url)
        except OSError as error:
            failure = _failure(error, url)
        # Not raised from the error: its text has the whole URL, and a traceback would show it.
        raise failure

    def _surroundings(self, url: str) -> dict[str, Any]:
        """Proxies and certificates by the environment, read once: requests does it each time.

        A password from `.netrc` is never sent.
        """
        if url not in self._found:
            session = requests.Session()
            found = session.merge_environment_settings(url, {}, None, None, None)
            self._found[url] = {name: found[name] for name in ("proxies", "verify")}
        return self._found[url]

    def _retrying(self) -> Retrying:
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
            return min(error.retry_after, longest)
        factor = self._patience.request_backoff_factor
        return wait_random_exponential(multiplier=factor, max=longest)(state)


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
        f"{place(url)} cannot be reached ({reason}). Check the network, tenant, environment and"
        " api_url."
    )


def _innermost(error: BaseException) -> BaseException:
    """The reason itself: requests and urllib3 wrap it several times, with the whole URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
