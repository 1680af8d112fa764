"""What the rows mean: the engine."""
