"""The schedulers themselves: `uv run --group schedulers pytest tests/schedulers`."""
