"""What all tests share."""

import os

import pytest
import torch

for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # `make test` runs us, and tests run make anew
    os.environ.pop(name, None)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Thousands of tiny products: threads only get in each other's way."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Files that take minutes come first, so that no core waits for one of them at the end."""
    long = ("test_batch.py", "test_runs.py")
    items.sort(key=lambda item: item.path.name not in long)
