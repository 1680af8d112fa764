"""Shifts."""

from __future__ import annotations

from protime_source.catalogue.fields import KEYS, translated
from protime_source.catalogue.model import Collection, column

SHIFT_DEFINITIONS = Collection(
    name="shift-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/shift-definitions/get-list/",
    columns=(
        *KEYS,
        *translated("name", "Default name of the definition."),
        column("code", "text", "Shift code."),
        *translated("friendlyName", "Name shown to users."),
        column("isEnabled", "bool", "Enabled."),
    ),
)
