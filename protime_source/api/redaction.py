"""Keeps secrets and tokens out of logs, errors and everything printed."""

from __future__ import annotations

import json
import logging
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from protime_source.errors import causes

_NAMES = (
    "deltaToken|continuationToken|access_token|client_secret|client_id"
    "|password|passwd|motherduck_token"
)
_SECRET_PARAMETER = re.compile(rf"((?:{_NAMES})=)(?:'[^']*'|[^&\s\"']+)", re.IGNORECASE)
_SECRET_FIELD = re.compile(rf"((?:{_NAMES})\\*[\"']\s*:\s*\\*[\"'])[^\"'\\]+", re.IGNORECASE)
"""A field of JSON, of JSON inside a JSON string, or of a Python dict's `repr`."""
_BEARER = re.compile(r"(Bearer\s+)[\w.~+/=-]+", re.IGNORECASE)
_URL_USER = re.compile(r"(//)(?:[^\s\"'<>/:@]*:(?!\d+/)[^\s\"'<>]{0,1000}|[^\s\"'<>/:@]+)@")
"""User and password of a URL. A password that was not escaped may contain `/`, `:` and `@`; digits
and `/` are a port. Examples in our own messages have `<password>`, which is kept."""
_HOST_WITH_PASSWORD = re.compile(r"(host name \")[^\"]*(?=@)")
"""What Postgres takes for a host when the password has an `@`: the password's end is in it."""
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?:.*?(?=-----END)|.*)", re.DOTALL)

_MIN_SECRET_LENGTH = 6
"""Characters. Shorter values are not searched for: ordinary words would match them."""

_LONGEST_QUOTE = 300
"""Characters of what a server says that are told."""

_LOOKED_AT = 10 * _LONGEST_QUOTE
"""Characters that are searched for secrets: what comes from outside may be of any length."""

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
        text: A text for a log or an error.
    """
    # Longest first: a secret that begins with another one would be replaced only in part.
    for value in sorted({*_secrets, *_tokens}, key=len, reverse=True):
        for spelling in _spellings(value):
            text = text.replace(spelling, "***")
    for pattern in (_PRIVATE_KEY, _SECRET_PARAMETER, _SECRET_FIELD, _BEARER, _HOST_WITH_PASSWORD):
        text = pattern.sub(r"\1***", text)
    return _URL_USER.sub(r"\1***@", text)


@lru_cache(maxsize=256)
def _spellings(value: str) -> tuple[str, ...]:
    """A secret as it is, in JSON and in a URL."""
    return value, json.dumps(value)[1:-1], quote(value, safe="", errors="surrogatepass")


def redacted(value: Any) -> Any:
    """Returns a value with every text in it redacted, at any depth of dicts, lists and tuples.

    Args:
        value: What dlt keeps of an exception.
    """
    match value:
        case str():
            return redact(value)
        case dict():
            # dlt's `native_value` is a setting that it could not read: most often credentials.
            return {
                name: "***" if name == "native_value" else redacted(each)
                for name, each in value.items()
            }
        case list():
            return [redacted(each) for each in value]
        case tuple():
            return tuple(redacted(each) for each in value)
    return value


def redact_error(error: BaseException | None) -> None:
    """Redacts the texts of an error and of its causes in place.

    Args:
        error: An error of another library, like the driver of a destination.
    """
    for each in causes(error):
        each.args = redacted(each.args)


@contextmanager
def redacted_errors() -> Iterator[None]:
    """Redacts the errors that leave the context."""
    try:
        yield
    except Exception as error:
        redact_error(error)
        raise


def quoted(text: str) -> str:
    """Returns a text from outside for use in a message: in one line, redacted, and not too long.

    Args:
        text: A text.
    """
    looked_at = text[:_LOOKED_AT]
    if len(text) > _LOOKED_AT:  # to a blank: half of a secret would not be known
        looked_at = looked_at[: max(looked_at.rfind(" "), looked_at.rfind("\n"), 0)]
    line = " ".join(redact(looked_at).split())
    is_whole = len(text) <= _LOOKED_AT and len(line) <= _LONGEST_QUOTE
    return line if is_whole else f"{line[:_LONGEST_QUOTE]}..."


def redacted_url(url: str) -> str:
    """Returns a URL without its query, redacted, for use in a message."""
    return quoted(url.partition("?")[0])


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
