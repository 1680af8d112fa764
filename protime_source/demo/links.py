"""The links in answers: nextLink and deltaLink."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from protime_source.demo.behaviour import Behaviour
from protime_source.demo.messages import Call


def link(call: Call, path: str, parameters: Mapping[str, str], how: Behaviour) -> str:
    """A link in the tenant's style.

    As documented (page `how-to/fetch-resources/`) it has no host, and the values stand in it
    unencoded: blanks, quotes and all.
    """
    pairs = [_pair(name, value, how) for name, value in parameters.items()]
    host = f"http://{call.headers.get('Host', '')}" if how.link_style == "absolute" else ""
    return f"{host}{path}?{'&'.join(pairs)}"


def _pair(name: str, value: str, how: Behaviour) -> str:
    if not value:
        return name
    return f"{name}={value if how.link_style == 'plain' else quote(value, safe='')}"
