# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb>=1.5,<2", "target-duckdb==0.8.0"]
# ///
"""The Singer target for DuckDB."""

from target_duckdb import main

if __name__ == "__main__":
    main()
