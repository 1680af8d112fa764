"""What the people who run it ask for: check it, see how it is, forget a collection."""
