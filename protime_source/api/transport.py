"""One tenant over HTTP: what is asked, and what an answer means."""

from __future__ import annotations

import http
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import pyarrow as pa
from tenacity import retry_if_exception_type

from protime_source.api.http import Connection
from protime_source.api.links import absolute
from protime_source.api.responses import (
    Answer,
    RateLimitedError,
    place,
    raise_if_passing,
    response_error,
    status_line,
)
from protime_source.errors import NotFoundError, ProtocolError, UnavailableError
from protime_source.settings import Settings

T = TypeVar("T")


class Transport:
    """Sends requests to one tenant's API, with its token, and waits out what passes.

    Args:
        settings: The tenant.
        scopes: The scopes to ask a token for.
        connection: A connection to share; one of its own when there is none.

    Attributes:
        requests: How many requests reached the API or tried to, without those for tokens.
    """

    def __init__(
        self, settings: Settings, scopes: Sequence[str], connection: Connection | None = None
    ) -> None:
        self.requests = 0
        self._origin = settings.api_origin
        self._connection = (connection or Connection(settings)).open()
        self._auth = self._connection.credentials(scopes)

    def close(self) -> None:
        """Closes the connections, or leaves them to the others that use them."""
        self._connection.close()

    def counted(self) -> int:
        """The requests since it was last asked for them."""
        counted, self.requests = self.requests, 0
        return counted

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
        answer: T = self._connection.retrying()(self._get, url, decode)
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
        encoded = None if body is None else msgspec.json.encode(body)
        retrying = self._connection.retrying()
        if method == "POST":
            retrying = retrying.copy(retry=retry_if_exception_type(RateLimitedError))
        try:
            return retrying(self._once, method, url, encoded)
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
        except (msgspec.DecodeError, pa.ArrowInvalid):
            size = len(answer.content)
        raise UnavailableError(
            f"{place(url)} answered with a body that is cut or not JSON ({size} bytes), also after"
            " asking again."
        )

    def _once(self, method: str, url: str, body: bytes | None = None) -> Answer:
        self.requests += 1
        answer = self._connection.exchange(method, url, auth=self._auth, body=body)
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
