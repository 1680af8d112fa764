"""The settings that lead this source to a tenant and to an empty warehouse."""

from __future__ import annotations

from pathlib import Path


def settings(url: str, folder: Path) -> dict[str, str]:
    """Returns the settings that lead to a tenant, with dlt's folder in another one."""
    return {
        "SOURCES__PROTIME__TENANT": "bench",
        "SOURCES__PROTIME__CLIENT_ID": "client",
        "SOURCES__PROTIME__CLIENT_SECRET": "not-a-secret",
        "SOURCES__PROTIME__API_URL": url,
        "SOURCES__PROTIME__TOKEN_URL": f"{url}/token",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(folder / "dlt"),
    }


def duckdb(folder: Path) -> dict[str, str]:
    """Returns the settings that lead to a DuckDB file in a folder."""
    return {"DESTINATION__DUCKDB__CREDENTIALS": str(folder / "warehouse.duckdb")}
