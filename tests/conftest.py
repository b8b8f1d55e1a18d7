"""What all tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Thousands of tiny products: threads only get in each other's way."""
    torch.set_num_threads(1)
