"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from command import Submit, background


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """A second thread beside another busy process can be far slower than none."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def submit() -> Iterator[Submit]:
    """Runs calls in the background, two at a time, while the module's other tests run."""
    with background() as submit:
        yield submit
