"""What of the Taylor rung is compiled: numbers, functions, series, their cotangents, sweeps."""
