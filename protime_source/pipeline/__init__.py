"""All that touches dlt's running state."""
