"""What the people who run it ask for: a check beforehand, and the status of the warehouse."""
