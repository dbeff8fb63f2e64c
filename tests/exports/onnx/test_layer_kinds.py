"""Layers that models use go out to ONNX and HDF5 with the numbers of torch, or are refused by name."""

import pytest
import torch

from exports.describe.learners import describe_learner
from exports.hdf5.write import Content, write_hdf5
from exports.onnx.inference import inference_graph
from exports.onnx.runtime import Runtime
from exports.programming.conductances import TileMapping
from exports.programming.integers import NumberFormat
from exports.programming.probes import probe_learner
from exports.verify import verify_file
from neurofa import Learner, NeurofaError, from_sequential
from tests.neurofa.layers import kinds

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

REFUSED = {
    "conv1d circular": "got operation 'empty.memory_format' in layer 'block0'",
    "depthwise reflect": "got operation 'arange.start_step' in layer 'block0'",
    "replicate": "got operation 'arange.start_step' in layer 'block0'",
    "instance norm": "got operation 'repeat.default' in layer 'block1'",
    "causal attention": "got operation 'full.default' in layer 'block0'",
    "attention apart": "got layer 'block0' in a form that ONNX refuses",
    "adaptive mean": "got operation '_adaptive_avg_pool2d.default' in layer 'block0'",
    "adaptive mean 1d": "got operation '_adaptive_avg_pool2d.default' in layer 'block0'",
    "adaptive max": "got operation 'adaptive_max_pool2d.default' in layer 'block0'",
    "adaptive max 3d": "got operation 'adaptive_max_pool3d.default' in layer 'block0'",
}
"""What torch's operations have no ONNX form here, by kind."""


def described(name):
    x = kinds.sample(name)
    network = from_sequential(kinds.model(name), x.shape[1:]).eval()
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    return learner, describe_learner(learner, "dfa", {"seed": 0}), x


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", [*kinds.KINDS, *kinds.POOLS])
def test_onnx_has_the_numbers_of_torch_or_names_what_it_has_not(name):
    learner, model, x = described(name)
    if name in REFUSED:
        with pytest.raises(NeurofaError, match=REFUSED[name]) as caught:
            inference_graph(model)
        assert "\n" not in str(caught.value)
        return
    found = Runtime(inference_graph(model))({"input": x})["output"]
    torch.testing.assert_close(found, learner.network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "name", ["conv1d", "depthwise reflect", "conv3d", "transposed 2d", "rms norm", "encoder", "lp"]
)
def test_hdf5_holds_weights_conductances_and_whole_numbers(name, tmp_path):
    learner, model, _ = described(name)
    path = tmp_path / "network.h5"
    content = Content(mapping=TileMapping(tile=(16, 16)), numbers=NumberFormat(bits=8))
    write_hdf5(path, model, probe_learner(learner, count=2, repeats=2, seed=0), content)
    checks = verify_file(path, learner, model)
    assert len(checks) > 3
    assert [check for check in checks if not check.ok] == []
