"""What the people who run it ask for: the status of the warehouse."""
