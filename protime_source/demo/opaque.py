"""Opaque tokens: Base64 of JSON, as the delta token is (page `reference/delta/`)."""

from __future__ import annotations

import base64
import json
from typing import Any

# Base64 of these has a "+" and a "/" wherever they stand: what a link must survive.
_AWKWARD = "~~~???"


def pack(content: dict[str, Any]) -> str:
    """A token for `content`; it always holds `+`, `/` and `=`."""
    text = json.dumps({**content, "Check": _AWKWARD}, separators=(",", ":"))
    return base64.b64encode((text if len(text) % 3 else text + " ").encode()).decode()


def unpack(token: str) -> dict[str, Any]:
    """The content of a token.

    Raises:
        ValueError: It is none of ours, or was changed on the way.
    """
    content = json.loads(base64.b64decode(token, validate=True))
    if not isinstance(content, dict) or content.pop("Check", None) != _AWKWARD:
        raise ValueError("not a token of this tenant")
    return content
