"""A plain client for the tests of the demo tenant: no cleverness, it sees all there is."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote

import requests

from protime_source.demo import Clock, DemoServer

ROOT = "/connector/protimeapi/api/v1"
READ = "connector-protimeapi-assignments.read"
WRITE = "connector-protimeapi-assignments.write"
YEAR = Clock().today().year
FIELDS: dict[str, Any] = {"person": {"id": 1}, "from": f"{YEAR}-01-05", "until": f"{YEAR}-01-05"}


def encoded(link: str) -> str:
    """A documented link made fit for a request line."""
    path, _, query = link.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    return path + "?" + "&".join(name + mark + quote(value, safe="") for name, mark, value in pairs)


class Client:
    """Talks to the API with a good token."""

    def __init__(self, server: DemoServer) -> None:
        self.server = server
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["User-Agent"] = "Tests/1.0 (Acme Corp)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask_token(self, **changes: str) -> requests.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.server.settings()["client_id"],
            "client_secret": self.server.settings()["client_secret"],
            "scope": f"{READ} {WRITE}",
        }
        return self.http.post(self.server.token_url, data=form | changes, timeout=5)

    def log_in(self, **changes: str) -> None:
        token = self.ask_token(**changes).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, target: str, body: Any = None) -> requests.Response:
        url = self.server.api_url + target
        return self.http.request(method, url, json=body, timeout=5, allow_redirects=False)

    def get(self, link: str) -> requests.Response:
        """Follow a link as the API gave it."""
        return self.call("GET", encoded(link))

    def page(self, link: str) -> dict[str, Any]:
        answer = self.get(link)
        answer.raise_for_status()
        page: dict[str, Any] = answer.json()
        return page

    def pages(self, link: str) -> list[dict[str, Any]]:
        """All pages from a link on."""
        found = [self.page(link)]
        while "nextLink" in found[-1]:
            found.append(self.page(found[-1]["nextLink"]))
        return found

    def start(self, start: str) -> str:
        """Walk a new delta over everything from a date and return its deltaLink."""
        link: str = self.pages(listing(start, delta=True))[-1]["deltaLink"]
        return link

    def changes(self, link: str) -> list[tuple[str, int]]:
        """Kind and id of each change."""
        return [(item["changeType"], item["data"]["id"]) for item in self.page(link)["value"]]


def listing(start: str, end: str = "", *, more: str = "", delta: bool = False) -> str:
    """The unencoded link of a list or of the start of a delta."""
    until = f" and date le '{end}'" if end else ""
    return f"{ROOT}/assignments?filter=date ge '{start}'{until}{more}{'&delta' if delta else ''}"


def ids(pages: list[dict[str, Any]]) -> list[int]:
    """The ids of all records in pages of a list."""
    return [record["id"] for page in pages for record in page["value"]]
