"""Torch modules of any kind have the same outputs in ONNX, or are refused by the name of the layer."""

import pytest
import torch
from torch import nn

from exports.describe.learners import describe_learner
from exports.onnx.inference import inference_graph
from exports.onnx.runtime import Runtime
from neurofa import Learner, NeurofaError, from_sequential
from tests.neurofa.interop.drawn_modules import Skip

pytest.importorskip("onnxruntime")


class Function(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


EXPORTED = {
    "max, ceil": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "max, ceil, padding": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max, dilation": lambda: nn.MaxPool2d(2, 1, dilation=2),
    "mean, ceil": lambda: nn.AvgPool2d(2, ceil_mode=True),
    "mean, padding": lambda: nn.AvgPool2d(3, 2, 1),
    "mean, padding not counted": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "mean, divisor": lambda: nn.AvgPool2d(2, divisor_override=1),
    "view": lambda: Function(lambda x: x.view(x.size(0), -1)),
    "view, batch open": lambda: Function(lambda x: x.view(-1, 4 * 49)),
    "clamp": lambda: Function(lambda x: x.clamp(0.1, 0.5)),
    "clamp below": lambda: Function(lambda x: x.clamp(min=0.1)),
    "zeros around": lambda: nn.ZeroPad2d((1, 2, 0, 1)),
    "numbers around": lambda: nn.ConstantPad2d(1, 0.5),
    "groups": lambda: nn.GroupNorm(2, 4),
    "groups without gain": lambda: nn.GroupNorm(2, 4, affine=False),
    "batch norm without gain": lambda: nn.BatchNorm2d(4, affine=False),
    "skip": lambda: Skip(nn.BatchNorm2d(4, affine=False)),
    "transposed": lambda: nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1),
    "same": lambda: nn.Conv2d(4, 2, 3, padding="same"),
    "elu": lambda: nn.ELU(0.5),
    "relu6": nn.ReLU6,
}
REFUSED = {
    "mean, divisor, ceil": (lambda: nn.AvgPool2d(2, divisor_override=3, ceil_mode=True), "'block1' .* off"),
    "statistics of the batch": (lambda: nn.BatchNorm2d(4, track_running_stats=False), "'_native_batch_norm"),
    "reflection": (lambda: nn.ReflectionPad2d(2), "in layer 'block1'"),
    "batch and rows": (
        lambda: Function(lambda x: x.permute(0, 2, 1, 3).reshape(x.shape[0] * 7, 28).view(x.shape[0], -1)),
        "'block1' in a form that ONNX refuses",
    ),
}


def learner(module):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), module, nn.Flatten(), nn.LazyLinear(3))
    model(torch.randn(4, 2, 7, 7))
    network = from_sequential(model.eval(), (2, 7, 7))
    return Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", EXPORTED)
def test_outputs_are_those_of_torch(name):
    found = learner(EXPORTED[name]())
    x = torch.randn(5, 2, 7, 7)
    graph = Runtime(inference_graph(describe_learner(found, "bp", {})))
    torch.testing.assert_close(graph({"input": x})["output"], found.network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", REFUSED)
def test_what_differs_in_onnx_is_refused(name):
    make, match = REFUSED[name]
    described = describe_learner(learner(make()), "bp", {})
    with pytest.raises(NeurofaError, match=match) as caught:
        inference_graph(described)
    assert "\n" not in str(caught.value)
    assert "report it" not in str(caught.value)
