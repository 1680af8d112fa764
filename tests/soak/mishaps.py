"""What goes wrong at Protime while an instance works."""

from __future__ import annotations

from random import Random
from typing import Any

from protime_source.demo import DemoTenant, Fault

_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429, "retry_after": 1},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503, "retry_after": 2},
    {"kind": "drop"},
    {"kind": "cut"},
    {"kind": "truncated_json"},
    {"kind": "html"},
    {"kind": "expired_token"},
    {"kind": "status", "status": 500, "times": 8},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 410},
    {"kind": "foreign_link"},
)


def fault(tenant: DemoTenant, random: Random) -> str:
    """Spoils the next responses in one way, unless some are still to be spoilt.

    Returns:
        In which way.
    """
    if tenant.faults:
        return ""
    chosen = random.choice(_FAULTS)
    tenant.faults.append(Fault(**chosen))
    return " ".join(str(chosen[name]) for name in ("kind", "status") if name in chosen)


def expiry(tenant: DemoTenant, random: Random) -> str:
    """Ends links, tokens and webhooks, in one of the ways in which they end.

    Returns:
        In which way.
    """
    match random.choice(("delta taken by another", "73 hours pass", "tokens revoked")):
        case "delta taken by another" as name:
            tenant.steal_delta()
        case "73 hours pass" as name:
            tenant.clock.advance(hours=73)
        case name:
            tenant.revoke_tokens()
    return name
