"""Feedback pathways on devices."""

import pytest
import torch

from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.synapses import Synapses


@pytest.mark.parametrize("rule", ["dfa", "dkp", "fa"])
def test_a_wide_feedback_fits_into_the_range_of_its_device(rule):
    """The device sees the fan-in of the pathway, o, not the width of the network."""
    made = []
    for device in ("digital", "fixed(bits=8)"):
        network = build("network", "mlp(hidden=[400, 400])", input_shape=(6,), outputs=5)
        spec = f"{rule}(feedback=dense(device={device}))"
        learner = Learner(network, spec, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
        matrix = learner.rule.feedback.matrix() if rule != "fa" else learner.rule.beside("dense1")["weight"]
        made.append(matrix.weight.detach().flatten())
    step = 3 / 127 / (5**0.5 if rule != "fa" else 400**0.5)
    assert float((made[0] - made[1]).abs().max()) <= step / 2 * 1.001
    assert float(made[1].abs().max()) > 0.9 * float(made[0].abs().max())


@pytest.mark.parametrize("device", ["digital", "fixed(bits=24, range=4.0)"])
@pytest.mark.parametrize("adopt", [False, True])
def test_only_an_exact_device_that_may_adopt_shares_memory_with_its_target(device, adopt):
    target = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    made = Synapses(target, build("device", device), torch.Generator(), adopt=adopt)
    assert torch.allclose(made.weight, target, atol=1e-6)
    shared = made.weight.data_ptr() == target.data_ptr()
    assert shared == (adopt and device == "digital")
