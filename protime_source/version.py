"""The version of this package, which also goes into the `User-Agent`."""

__version__ = "0.1.0"
