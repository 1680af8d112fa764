"""One tenant over HTTP: sending, patience, and Protime's errors as ours."""

from __future__ import annotations

import email.utils
import http
import time
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

from protime_source.auth import ClientCredentials
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    ResponseError,
    UnauthorizedError,
    UnavailableError,
)
from protime_source.links import absolute
from protime_source.redaction import redact, redact_http_logs
from protime_source.settings import Settings

T = TypeVar("T")

_ERRORS: dict[int, type[ResponseError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ExpiredError,
    410: ExpiredError,
}
_ADVICE: dict[int, str] = {
    401: "Ask Protime whether this client may read it: a missing scope is answered so, too.",
    403: "Ask Protime to add the scope to the client, or whether the tenant has the feature:"
    " assignments are not available with Planning Flex or Shift.",
}


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
        self._session.headers["User-Agent"] = settings.user_agent
        self._session.headers["Accept"] = "application/json"
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
        """
        url = absolute(link, self._origin)
        answer: T = self._retrying()(self._get, url, decode)
        return answer

    def send(self, method: str, path: str, body: object = None) -> requests.Response:
        """Sends a change.

        A create is repeated only where Protime surely did not take it (429): nothing documents
        that it would recognise the same one twice.

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
            retrying = retrying.copy(retry=retry_if_exception_type(_RateLimitedError))
        return retrying(self._once, method, url, json=body)

    def _get(self, url: str, decode: Callable[[bytes], T]) -> T:
        content = self._once("GET", url).content
        try:
            content.decode()  # msgspec does not look into what it leaves undecoded
            return decode(content)
        except msgspec.ValidationError as error:
            raise ProtocolError(
                f"{_place(url)} answered with JSON that is not as documented: {error}."
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            size = len(content)
        raise UnavailableError(
            f"{_place(url)} answered with a body that is cut or not JSON ({size} bytes), also after"
            " asking again."
        )

    def _once(self, method: str, url: str, **options: Any) -> requests.Response:
        self.requests += 1
        response = self._exchange(method, url, auth=self._auth, **options)
        self.requests += len(response.history)
        if 300 <= response.status_code < 400:
            raise ProtocolError(
                f"{_place(url)} answered {_status(response.status_code)}; a redirect is not"
                " followed, since the access token would travel with it. Check api_url and tenant."
            )
        if not response.ok:
            raise _response_error(response, url)
        if "html" in response.headers.get("Content-Type", ""):
            raise UnavailableError(
                f"{_place(url)} answered with a web page in place of Protime's answer, also after"
                " asking again."
            )
        return response

    def _post_form(self, url: str, data: dict[str, str]) -> requests.Response:
        def once() -> requests.Response:
            response = self._exchange("POST", url, data=data)
            _raise_if_passing(response, url)
            return response

        try:
            return self._retrying()(once)
        except UnavailableError as error:
            raise _NoTokenError(str(error)) from None

    def _exchange(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            return self._session.request(
                method,
                url,
                timeout=self._patience.request_timeout,
                allow_redirects=False,
                **options,
            )
        except requests.RequestException as error:
            cause = _cause(error)
        # Not raised from the error: its text has the whole URL, and a traceback would show it.
        raise UnavailableError(
            f"{_place(url)} cannot be reached ({cause}). Check the network, tenant, environment"
            " and api_url."
        )

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(self._patience.request_max_attempts),
            wait=self._wait,
            retry=retry_if_exception_type(UnavailableError) & _HAS_TOKEN,
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


class _RateLimitedError(UnavailableError):
    """429: the request was not taken."""


class _NoTokenError(UnavailableError):
    """The token endpoint gave no answer, and was asked often enough."""


_HAS_TOKEN = retry_if_not_exception_type(_NoTokenError)


class _ErrorBody(msgspec.Struct):
    """`{"error": {"code", "message", "reasons"}}`; gateways and validation differ."""

    error: Any = None
    validationErrors: Any = None  # noqa: N815  # Protime's spelling


def _raise_if_passing(response: requests.Response, url: str) -> None:
    """Raises what is worth waiting for: 429 and 5xx (documentation: reference/responses)."""
    status = response.status_code
    if (
        status != http.HTTPStatus.TOO_MANY_REQUESTS
        and status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return
    kind = _RateLimitedError if status == http.HTTPStatus.TOO_MANY_REQUESTS else UnavailableError
    raise kind(
        f"{_place(url)} answered {_status(status)}, also after waiting and asking again.",
        _retry_after(response.headers.get("Retry-After", "")),
    )


def _response_error(response: requests.Response, url: str) -> ResponseError:
    _raise_if_passing(response, url)
    status = response.status_code
    code, text, reasons = _said(response.content)
    said = "; ".join(part for part in (text or code, *reasons) if part) or "no reason given"
    advice = _ADVICE.get(status, "")
    message = f"{_place(url)} answered {_status(status)}: {said}. {advice}"
    kind = _ERRORS.get(status, ResponseError)
    return kind(message.strip(), status=status, code=code, reasons=reasons)


def _said(body: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Code, message and reasons of an error body, as far as it has them."""
    try:
        answer = msgspec.json.decode(body, type=_ErrorBody)
    except msgspec.MsgspecError:
        return "", "", ()
    error = answer.error if isinstance(answer.error, dict) else {}
    reasons = error.get("reasons") or answer.validationErrors or []
    listed = reasons if isinstance(reasons, list) else [reasons]
    message, *rest = (_one_line(part) for part in (error.get("message") or "", *listed))
    return _text(error.get("code") or ""), message, tuple(filter(None, rest))


def _one_line(value: object) -> str:
    return " ".join(_text(value).split()).rstrip(".")


def _text(value: object) -> str:
    """A reason as text; the shape of a validation error is not documented."""
    return redact(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _retry_after(header: str) -> float | None:
    """Seconds to wait; the header may be a number of seconds or a date."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _place(url: str) -> str:
    """Where it happened, without the query."""
    return redact(url.partition("?")[0])


def _status(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _cause(error: requests.RequestException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times, with the whole URL."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    text = redact(str(cause).splitlines()[0]) if str(cause) else ""
    return text or type(cause).__name__
