"""A dlt source that keeps a warehouse true to Protime, by delta."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from protime_source.errors import (
    AlreadyRunningError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    DifferencesError,
    ExpiredError,
    ForbiddenError,
    IncompleteFullLoadError,
    NotConnectedError,
    NotFoundError,
    OtherTenantError,
    ProtimeError,
    ProtocolError,
    PublishError,
    RateLimitedError,
    RefusedCollectionsError,
    ResponseError,
    ScopeError,
    SettingsError,
    TokenUnavailableError,
    TooLargeError,
    TooManyDeletesError,
    UnauthorizedError,
    UnavailableError,
    UnhealthyError,
    UnknownChangeError,
    UntrustedCertificateError,
    UnwrittenRowsError,
    VanishedRowsError,
    WarehouseError,
)

if TYPE_CHECKING:
    from protime_source.api.assignments import ActivityLevel, Assignment
    from protime_source.api.client import Client
    from protime_source.api.clockings import Clocking
    from protime_source.operations.check import Check, check
    from protime_source.operations.models import Models, create_models, drop_models
    from protime_source.operations.reset import Reset, reset
    from protime_source.operations.status import Status, status
    from protime_source.pipeline.load import load
    from protime_source.pipeline.source import protime
    from protime_source.pipeline.summary import Summary
    from protime_source.settings import Settings, __version__
    from protime_source.verification.report import VerifyReport
    from protime_source.verification.run import verify
    from protime_source.writeback.push import push
    from protime_source.writeback.report import PushReport

_HOMES = {
    "ActivityLevel": "api.assignments",
    "Assignment": "api.assignments",
    "Check": "operations.check",
    "Client": "api.client",
    "Clocking": "api.clockings",
    "Models": "operations.models",
    "PushReport": "writeback.report",
    "Reset": "operations.reset",
    "Settings": "settings",
    "Status": "operations.status",
    "Summary": "pipeline.summary",
    "VerifyReport": "verification.report",
    "__version__": "settings",
    "check": "operations.check",
    "create_models": "operations.models",
    "drop_models": "operations.models",
    "load": "pipeline.load",
    "protime": "pipeline.source",
    "push": "writeback.push",
    "reset": "operations.reset",
    "status": "operations.status",
    "verify": "verification.run",
}
"""The modules of the names that are imported when they are first asked for.

dlt and pyarrow take a second to import: the command's help must not wait for them, and dlt itself
imports this package when it looks for plugins.
"""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Returns a public name, and imports its module."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


__all__ = [
    "ActivityLevel",
    "AlreadyRunningError",
    "ApiError",
    "Assignment",
    "AuthenticationError",
    "BadRequestError",
    "Check",
    "Client",
    "Clocking",
    "DifferencesError",
    "ExpiredError",
    "ForbiddenError",
    "IncompleteFullLoadError",
    "Models",
    "NotConnectedError",
    "NotFoundError",
    "OtherTenantError",
    "ProtimeError",
    "ProtocolError",
    "PublishError",
    "PushReport",
    "RateLimitedError",
    "RefusedCollectionsError",
    "Reset",
    "ResponseError",
    "ScopeError",
    "Settings",
    "SettingsError",
    "Status",
    "Summary",
    "TokenUnavailableError",
    "TooLargeError",
    "TooManyDeletesError",
    "UnauthorizedError",
    "UnavailableError",
    "UnhealthyError",
    "UnknownChangeError",
    "UntrustedCertificateError",
    "UnwrittenRowsError",
    "VanishedRowsError",
    "VerifyReport",
    "WarehouseError",
    "__version__",
    "check",
    "create_models",
    "drop_models",
    "load",
    "protime",
    "push",
    "reset",
    "status",
    "verify",
]
