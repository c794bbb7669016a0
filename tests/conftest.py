"""What all tests share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A second thread beside another busy process can be far slower than none."""
    torch.set_num_threads(1)
