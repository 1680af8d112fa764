"""JSON bytes to Arrow. Knows neither HTTP nor threads nor dlt."""
