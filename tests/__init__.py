"""Tests of refnode; `python -m tests` runs everything that must pass."""
