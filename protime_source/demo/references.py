"""External references (page `reference/external-references/`)."""

from __future__ import annotations

import re
from typing import Any

from protime_source.demo.messages import ApiError

Record = dict[str, Any]

_REFERS = {
    "person": "people",
    "terminal": "terminals",
    "reason": "absence-definitions",
    "absenceDefinition": "absence-definitions",
    "resultingAbsenceDefinition": "absence-definitions",
    "requestedAbsenceDefinition": "absence-definitions",
    "shiftDefinition": "shift-definitions",
    "counterDefinition": "counter-definitions",
    "absenceGroup": "absence-groups",
    "parentContract": "contracts",
    "activityDefinition": "activity-definitions",
}
_PAIR = r"\(([a-z-]+),(@?[\w-]+)\)"


def check(text: str) -> str:
    """The references asked for.

    Raises:
        ApiError: 400 when they are malformed.
    """
    if text and not re.fullmatch(f"(?:{_PAIR})+", text):
        raise ApiError(400, "The external references are malformed.")
    return text


def with_references(record: Record, asked: str, collection: str) -> Record:
    """A record with the references that were asked for, wherever it names what they belong to."""
    for owner, reference in re.findall(_PAIR, asked):
        record = {name: _added(name, value, owner, reference) for name, value in record.items()}
        if owner == collection:
            record = _extended(record, reference)
    return record


def _added(name: str, value: Any, owner: str, reference: str) -> Any:
    if isinstance(value, list):
        return [
            {key: _added(key, inner, owner, reference) for key, inner in each.items()}
            if isinstance(each, dict)
            else each
            for each in value
        ]
    if _REFERS.get(name) == owner and isinstance(value, dict):
        return _extended(value, reference)
    return value


def _extended(owner: Record, reference: str) -> Record:
    known = owner.get("externalReferences", {})
    value = f"{reference.lstrip('@')}-{owner['id']}"
    return {**owner, "externalReferences": {**known, reference: value}}
