"""JSON bytes to Arrow."""
