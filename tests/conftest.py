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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """The longest first: runs of notebooks, one by one; then every file as one group."""
    items.sort(key=lambda item: item.path.name != "test_runs.py")
    for item in items:
        if item.path.name != "test_runs.py":  # a kernel and fixtures serve a whole file
            item.add_marker(pytest.mark.xdist_group(item.path.name))
