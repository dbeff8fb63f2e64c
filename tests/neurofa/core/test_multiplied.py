"""Weights by which a layer multiplies its input are found, however the product is written."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurofa import Network, NeurofaError, build
from neurofa.core.multiplied import multiplied
from neurofa.layers import Block, Dense


class Written(nn.Module):
    """A product, or what only resembles one, given as a function of input and weight."""

    def __init__(self, product, *shape: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))
        self.product = product

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x, self.w)


PRODUCTS = {
    "sum": (lambda x, w: (x.unsqueeze(1) * w).sum(-1), (3, 4)),
    "sum of all but one": (lambda x, w: (w * x[:, None]).sum(dim=(2,)), (3, 4)),
    "mean": (lambda x, w: torch.mean(x[:, None].mul(w), 2), (3, 4)),
    "in place": (lambda x, w: x[:, None].repeat(1, 3, 1).mul_(w).sum(-1), (3, 4)),
    "transposed": (lambda x, w: (x[..., None] * w).sum(1), (4, 3)),
    "of a function of the weight": (lambda x, w: (x[:, None] * w.tanh()).sum(-1), (3, 4)),
    "einsum": (lambda x, w: torch.einsum("bi,oi->bo", x, w), (3, 4)),
    "mask": (lambda x, w: (x * w).sum(-1, keepdim=True).expand(-1, 3), (1, 4)),
}
OTHERS = {
    "scale": (lambda x, w: (x * w)[:, :3], (1, 4)),
    "scale, summed over another axis": (lambda x, w: (x[:, :, None].repeat(1, 1, 2) * w).sum(-1)[:, :3], (1, 4, 1)),
    "bias": (lambda x, w: (x[:, None] + w).sum(-1), (3, 4)),
    "outer": (lambda x, w: (x[:, None, :3] * w).sum(1), (5, 1)),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_products_are_found(case):
    product, shape = PRODUCTS[case]
    network = Network([Block(Written(product, *shape)), Dense(3, 2)], input_shape=(4,))
    name = network.names[0]
    assert multiplied(network.layer(name), torch.zeros(2, 4)) == ["w"]
    with pytest.raises(NeurofaError, match=f"layer '{name}', which multiplies by w outside of it"):
        Network([Block(Written(product, *shape)), Dense(3, 2)], input_shape=(4,), device="fixed(bits=6)")
    with pytest.raises(NeurofaError, match=f"'{name}', a block with weights inside"):
        network.attach("training")


@pytest.mark.parametrize("case", OTHERS)
def test_scales_and_biases_are_not_taken_for_products(case):
    product, shape = OTHERS[case]
    network = Network([Block(Written(product, *shape)), Dense(3, 2)], input_shape=(4,), device="fixed(bits=6)")
    assert multiplied(network.layer(network.names[0]), torch.zeros(2, 4)) == []


def test_a_chained_rule_refuses_a_product_that_is_written_out():
    product, shape = PRODUCTS["sum"]
    network = Network([Dense(4, 4), Block(Written(product, *shape)), Dense(3, 2)], input_shape=(4,))
    with pytest.raises(NeurofaError, match="without a return weight"):
        build("rule", "kp").bind(network.plan(chained=True), torch.Generator())
