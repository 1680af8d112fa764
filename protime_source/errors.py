"""Everything that can go wrong, as one tree.

ProtimeError
├── SettingsError            a setting is missing or wrong; nothing was asked of Protime
├── WarehouseError           the destination cannot hold what was asked of it
├── VanishedRowsError        a resync found suspiciously many rows gone
├── AlreadyRunningError      another run of the same pipeline is at work
└── ApiError                 Protime, or the way to it
    ├── AuthenticationError  the token endpoint refused the credentials
    │   └── ScopeError           or a scope
    ├── UnavailableError     no usable answer, also after waiting and asking again
    ├── ProtocolError        an answer that breaks the documented protocol
    │   └── TooLargeError        or is larger than what is read of one
    └── ResponseError        an error status, with what Protime said
        ├── BadRequestError      400
        ├── UnauthorizedError    401, also with a fresh token
        ├── ForbiddenError       403
        ├── NotFoundError        404
        └── ExpiredError         409 or 410: the link is dead, a new walk is needed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ProtimeError(Exception):
    """Base of all errors of this package. Its text is one line, written for people.

    Attributes:
        exit_code: What the command line answers with.
    """

    exit_code: ClassVar[int] = 1


class SettingsError(ProtimeError):
    """A setting is missing or wrong. Raised before any request."""

    exit_code = 2


class WarehouseError(ProtimeError):
    """The destination cannot be used the way it is configured."""

    exit_code = 4


class VanishedRowsError(ProtimeError):
    """A complete walk did not show more live rows than `max_vanished_share` allows.

    Attributes:
        table: Which table's.
    """

    exit_code = 5

    def __init__(self, message: str, table: str = "") -> None:
        super().__init__(message)
        self.table = table


class AlreadyRunningError(ProtimeError):
    """Another run of the same pipeline is at work. Raised before any request."""

    exit_code = 6


class ApiError(ProtimeError):
    """Protime, or the network on the way to it, did not give what was asked for."""

    exit_code = 3


class RefusedCollectionsError(ApiError):
    """R."""

    def __init__(self, message: str, tables=(), summary=None) -> None:
        super().__init__(message)
        self.tables = tuple(tables)
        self.summary = summary


def causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class AuthenticationError(ApiError):
    """The token endpoint refused the credentials, or a scope."""


class ScopeError(AuthenticationError):
    """The client does not have the scope."""


class UnavailableError(ApiError):
    """No usable answer: unreachable, rate limited, failing, or a cut or garbled body.

    Attributes:
        retry_after: Seconds that Protime asked to wait, when it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProtocolError(ApiError):
    """An answer that is well-formed but breaks the documented protocol."""


class TooLargeError(ProtocolError):
    """An answer without end, or nearly so; the rest was not read."""


class ResponseError(ApiError):
    """An answer with an error status.

    Attributes:
        status: The HTTP status.
        code: Protime's error code, empty when the body held none.
        reasons: Protime's detailed reasons, or the validation errors of a body.
    """

    def __init__(
        self, message: str, *, status: int, code: str = "", reasons: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reasons = tuple(reasons)


class BadRequestError(ResponseError):
    """400: the query or the body is not valid."""


class UnauthorizedError(ResponseError):
    """401, although the token was fresh: the client lacks the scope, or was withdrawn."""


class ForbiddenError(ResponseError):
    """403: the scope is missing, or the tenant does not have the feature."""


class NotFoundError(ResponseError):
    """404: no such record, collection or structure."""


class ExpiredError(ResponseError):
    """409 or 410 on a link: it is no longer valid, and only a new walk leads on."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind when it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
