"""A card for tests."""

import pytest


@pytest.fixture
def runner(monkeypatch):
    """backend="cuda" on the PTX runner."""
    from tests.cuda.launch import card

    device = card()
    monkeypatch.setattr("refnode.kernels.cuda.card.the_card", lambda: device)
    return device
