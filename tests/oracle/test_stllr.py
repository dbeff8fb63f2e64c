"""S-TLLR beside the constants of its authors, and tick by tick with their psi."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.rules import STLLR
from tests.oracle.spikes import near, streamed

T, B, INPUTS, N = 23, 3, 6, 7
# (post decay, pre decay, non-causal, causal), as the authors order them
FACTORS = {
    "default": (0.5, 0.8, -0.2, 1.0),
    "dvs_gesture": (0.2, 0.75, -1.0, 1.0),
    "cifar10_dvs": (0.2, 0.5, -1.0, 1.0),
    "shd": (0.5, 1.0, 1.0, 1.0),
}


def psi(v, published, conv):
    if published == "cifar10_dvs":
        s = torch.sigmoid(4 * v)
        return 4 * s * (1 - s)
    return 0.3 * (1 - v.abs()).clamp(min=0) if conv else 1 / (100 * v.abs() + 1) ** 2


class Watched(STLLR):
    """S-TLLR that keeps what its lowest layer saw."""

    def update(self, name, layer, view):
        self.seen = layer, view
        return super().update(name, layer, view)


@pytest.mark.parametrize("published", FACTORS)
@pytest.mark.parametrize("conv", [False, True])
def test_a_sequence_is_learnt_tick_by_tick_with_the_authors_constants(published, conv):
    spec = "conv_snn(channels=[2, 2], kernel=3, neuron='lif(threshold=0.3)')" if conv else f"snn(hidden=[{N}])"
    shape = (1, 8, 8) if conv else (INPUTS,)
    xs = (torch.rand(T, B, *shape, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    network, rule = build("network", spec, input_shape=shape, outputs=3).double(), Watched(published=published)
    ours = streamed(network, rule, xs, torch.tensor([0, 2, 1]), chunk=T)
    layer, view = rule.seen
    signal, derivative = (x.unflatten(0, (T, B)) for x in (view.error, psi(view.after["v"], published, conv)))
    f0, f1, f2, f3 = FACTORS[published]
    came, active, wanted = 0.0, torch.zeros_like(derivative[0]), 0.0
    for t in range(T):
        came = f1 * came + xs[t]
        for delta, x in ((f3 * signal[t] * derivative[t], came), (f2 * signal[t] * active, xs[t])):
            wanted = wanted + weight_direction(layer, delta, x) / B
        active = f0 * active + derivative[t]
    assert wanted.abs().max() > 0
    assert near({"w": ours[f"{network.lowest}.weight"]}, {"w": wanted})


def weight_direction(layer, delta, x):
    """The direction of the weights for the errors at the currents and the inputs of one tick, by autograd."""
    weight = layer.synapses["weight"].weight.detach().clone().requires_grad_()
    current = layer.map.linear(x, weight, None)
    return torch.autograd.grad((current * delta).sum(), weight)[0]


def test_given_options_go_before_published_ones_and_one_is_a_decay():
    rule = STLLR(published="shd", pre=-0.5)
    assert (rule.decay_out, rule.decay_in, rule.pre, rule.post) == (0.5, 1.0, -0.5, 1.0)
    for spec, message in (("stllr(decay_in=1.1)", "0 to 1"), ("stllr(published=shp)", "did you mean 'shd'")):
        with pytest.raises(NeurofaError, match=message):
            build("rule", spec)
