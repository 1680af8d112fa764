"""The way to a host: a pool of connections, with the proxy and certificates of the environment."""

from __future__ import annotations

from dataclasses import dataclass

import requests
from urllib3 import BaseHTTPResponse, HTTPConnectionPool

from protime_source.api.redaction import QuietAdapter


@dataclass(frozen=True)
class Route:
    """The way to one host.

    requests finds it, urllib3 goes it: a session of requests takes twice as long for each request.

    Attributes:
        pool: Its connections.
        prefix: What stands before a path: the origin, where a proxy has to know it.
    """

    pool: HTTPConnectionPool
    prefix: str

    def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout: float
    ) -> BaseHTTPResponse:
        """Sends one request, once; redirects are not followed.

        Args:
            method: HTTP's.
            path: With its query.
            headers: All of them.
            body: What goes out.
            timeout: Seconds, to connect and between two pieces of the answer.

        Returns:
            The answer, whose body is still to be read.

        Raises:
            urllib3.exceptions.HTTPError: When there is none.
        """
        return self.pool.urlopen(
            method,
            self.prefix + path,
            body=body,
            headers=headers,
            timeout=timeout,
            redirect=False,
            retries=False,
            assert_same_host=False,  # a proxy's pool is that of another host
            preload_content=False,
        )


class Routes(QuietAdapter):
    """Finds ways, each once."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, Route] = {}

    def to(self, origin: str) -> Route:
        """The way to a host.

        A password from `.netrc` is never sent.

        Args:
            origin: Scheme, host and port.

        Raises:
            OSError: When `REQUESTS_CA_BUNDLE` names no file, or a proxy's address is none.
        """
        if origin not in self._found:
            self._found[origin] = self._find(origin)
        return self._found[origin]

    def close(self) -> None:
        """Ends all connections; ways are found anew if they are needed again."""
        self._found.clear()
        super().close()

    def _find(self, origin: str) -> Route:
        request = requests.Request("GET", origin).prepare()
        with requests.Session() as session:
            around = session.merge_environment_settings(origin, {}, None, None, None)
        proxies, verify = around["proxies"], around["verify"]
        pool = self.get_connection_with_tls_context(request, verify, proxies=proxies)
        self.cert_verify(pool, origin, verify, None)  # type: ignore[no-untyped-call]
        is_named = self.request_url(request, proxies) != request.path_url
        return Route(pool, origin if is_named else "")
