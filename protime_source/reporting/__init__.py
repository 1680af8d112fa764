"""Pictures of the warehouse for planners: one home for their queries and charts."""
