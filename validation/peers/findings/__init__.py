"""Reproducers, one file a finding: `python -m validation.peers.findings` runs them all."""
