"""All that differs by destination."""
