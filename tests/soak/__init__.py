"""Hours of a listening, scheduled and read-from instance with faults: what grows, what is wrong."""
