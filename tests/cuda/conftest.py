"""A card for tests."""

import pytest

from refnode.kernels.garbage import seldom_collected


@pytest.fixture(scope="session", autouse=True)
def collected_seldom():
    """Between kernels too: a compiler's objects outlive it where device functions are kept."""
    with seldom_collected():
        yield


@pytest.fixture
def runner(monkeypatch):
    """backend="cuda" on the PTX runner."""
    from tests.cuda.launch import card

    device = card()
    monkeypatch.setattr("refnode.kernels.cuda.card.the_card", lambda: device)
    return device
