"""The data model for other tools: dbt's sources, an ER diagram, a data dictionary."""
