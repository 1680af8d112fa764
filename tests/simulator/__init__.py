"""A simulator of the whole: Protime, hosts with working folders, a warehouse, clocks, kills.

The engine, the decoders, the builder of batches, the order of a run's packages, and the decisions
which package may be loaded are the production code. One seed is one history:

    uv run python -m tests.simulator --histories 1000000 --processes 2
"""
