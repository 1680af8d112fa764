"""Arrow's compute functions, imported with the first that is used.

Arrow makes hundreds of them then, which takes 0.07 s of CPU: runs without changes use none.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Returns a function or class of `pyarrow.compute`."""
    import pyarrow.compute

    return getattr(pyarrow.compute, name)
