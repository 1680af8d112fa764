"""Keeps secrets and tokens out of logs, errors and everything printed."""

from __future__ import annotations

import json
import logging
import re
from collections import deque
from urllib.parse import quote

_NAMES = "deltaToken|continuationToken|access_token|client_secret|client_id"
_SECRET_PARAMETER = re.compile(rf"((?:{_NAMES})=)[^&\s\"']+", re.IGNORECASE)
_SECRET_FIELD = re.compile(rf"((?:{_NAMES})\\*[\"']\s*:\s*\\*[\"'])[^\"'\\]+", re.IGNORECASE)
"""A field of JSON, of JSON inside a JSON string, or of a Python dict's `repr`."""
_BEARER = re.compile(r"(Bearer\s+)[\w.~+/=-]+", re.IGNORECASE)

_MIN_SECRET_LENGTH = 6
"""Characters. Shorter values are not searched for: ordinary words would match them."""

_secrets: set[str] = set()
_tokens: deque[str] = deque(maxlen=100)


def register_secret(value: str, *, expires: bool = False) -> None:
    """Makes `redact` replace a value wherever it appears.

    Args:
        value: A password, key, client secret or token. Values of fewer than 6 characters are
            ignored.
        expires: Whether the value is a token that is renewed again and again: only the last
            hundred of these are remembered. All other values are remembered until the process ends.
    """
    if len(value) < _MIN_SECRET_LENGTH:
        return
    if expires:
        _tokens.append(value)
    else:
        _secrets.add(value)


def redact(text: str) -> str:
    """Returns a text with every secret and token in it replaced by `***`.

    Args:
        text: A text on its way to a log or an error.
    """
    # Longest first: a secret that begins with another one would be replaced only in part.
    for value in sorted({*_secrets, *_tokens}, key=len, reverse=True):
        for spelling in (value, json.dumps(value)[1:-1], quote(value, safe="")):
            text = text.replace(spelling, "***")
    for pattern in (_SECRET_PARAMETER, _SECRET_FIELD, _BEARER):
        text = pattern.sub(r"\1***", text)
    return text


def redacted_url(url: str) -> str:
    """Returns a URL without its query, redacted, for use in a message."""
    return redact(url.partition("?")[0])


class RedactingFilter(logging.Filter):
    """A logging filter that redacts the text of each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redacts the record in place and keeps it."""
        record.msg, record.args = redact(record.getMessage()), ()
        return True


def redact_http_logs() -> None:
    """Adds the filter to urllib3's connection log, once: urllib3 logs every URL at DEBUG."""
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(present, RedactingFilter) for present in logger.filters):
        logger.addFilter(RedactingFilter())
