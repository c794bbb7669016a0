"""Tokens that all questions share are computed once, which changes no number."""

from __future__ import annotations

import pytest
import torch

from grokplane.data.layouts import LAYOUTS
from grokplane.models import MLP, Signature, build, lookup

QUESTIONS = torch.tensor([[[0, 5, 3, 6], [4, 5, 1, 6], [2, 5, 2, 6]], [[1, 5, 1, 6], [1, 5, 0, 6], [3, 5, 4, 6]]])


def test_fixed_tokens_are_a_layouts_symbols() -> None:
    assert LAYOUTS["operands"].fixed(2, 5) == {}
    assert LAYOUTS["equals"].fixed(3, 5) == {3: 5}
    assert LAYOUTS["equation"].fixed(2, 5) == {1: 5, 3: 6}


@pytest.mark.parametrize("columns_per_token", [0, 100], ids=["gather", "product"])
def test_fixed_tokens_change_neither_outputs_nor_gradients(
    columns_per_token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "PRODUCT_COLUMNS_PER_TOKEN", columns_per_token)
    choice = MLP([4], embedding="concat", embedding_dim=3)
    networks = []
    for fixed in ({}, {1: 5, 3: 6}):
        networks.append(build([choice] * 2, Signature(4, 7, 7, fixed), range(2), torch.float64))
    outputs = [network(network.encode(QUESTIONS)) for network in networks]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-13, atol=1e-13)
    for output in outputs:
        output.square().sum().backward()
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-12, atol=1e-12)
