"""Networks and training states survive their files, and broken files are named."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hwmodels.errors import NeurofaError
from neurofa import Learner, build
from neurofa.interop.sequential import from_sequential
from neurofa.training.checkpoint import load_checkpoint, load_network, save_checkpoint, save_network


def make(rule: str, seed: int = 0, device: str = "fixed(bits=6)") -> Learner:
    network = build(
        "network",
        "cnn(channels=[3], hidden=6, norm=batch, dropout=0.2)",
        input_shape=(1, 8, 8),
        outputs=4,
        seed=seed,
        device=device,
    )
    return Learner(network, rule, optimizer=torch.optim.Adam(network.parameters(), lr=0.01, amsgrad=True), seed=seed)


def batch(seed: int):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(8, 1, 8, 8, generator=gen), torch.randint(0, 4, (8,), generator=gen)


@pytest.mark.parametrize("rule", ["dfa", "kp", "brsf", "weight_mirror", "dkp"])
def test_a_resumed_learner_goes_on_as_if_it_had_not_stopped(rule, tmp_path):
    straight = make(rule)
    for step in range(6):
        straight.step(*batch(step))
    first = make(rule)
    for step in range(3):
        first.step(*batch(step))
    save_checkpoint(tmp_path / "state", first, {"epoch": 3})
    resumed = make(rule)
    assert load_checkpoint(tmp_path / "state", resumed) == {"epoch": 3}
    for step in range(3, 6):
        resumed.step(*batch(step))
    for key, value in straight.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key
    for key, value in straight.rule.state_dict().items():
        assert torch.equal(value, resumed.rule.state_dict()[key]), key
    assert resumed.steps == 6


def test_a_network_is_built_again_from_its_file(tmp_path):
    network = make("dfa").network
    save_network(network, tmp_path / "net")
    again = load_network(tmp_path / "net")
    assert again.spec == network.spec
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in network.state_dict().items())


def test_a_network_without_a_recipe_is_filled_in_place(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    network = from_sequential(model, (3,))
    save_network(network, tmp_path / "net")
    with pytest.raises(NeurofaError, match="no recipe made"):
        load_network(tmp_path / "net")
    other = from_sequential(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)), (3,))
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_network(tmp_path / "net", other)(x), network(x))


def test_a_state_of_before_the_cells_were_renamed_is_loaded(tmp_path):
    def learner(seed: int) -> Learner:
        feedback = "dense(device=pcm)"
        network = build("network", "mlp(hidden=[5])", input_shape=(6,), outputs=4, seed=seed, device="pcm")
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        return Learner(network, f"dfa(feedback={feedback!r})", optimizer=optimizer, seed=seed)

    first, second = learner(0), learner(1)
    save_checkpoint(tmp_path / "state", first, {})
    save_network(first.network, tmp_path / "net")
    for name in ("state", "net"):
        with safe_open(tmp_path / name, framework="pt") as file:
            tensors = {key.replace("_drift", "_fate"): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            about = file.metadata()
        assert sum(key.endswith("_fate") for key in tensors) == (6 if name == "state" else 4)
        save_file(tensors, tmp_path / name, metadata=about)
    load_checkpoint(tmp_path / "state", second)
    again = load_network(tmp_path / "net")
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key])
        assert torch.equal(value, again.state_dict()[key])
    assert all(torch.equal(v, second.rule.state_dict()[k]) for k, v in first.rule.state_dict().items())


def test_a_state_of_another_structure_changes_nothing(tmp_path):
    save_checkpoint(tmp_path / "state", make("kp"), {})
    learner = make("dfa", seed=3)
    before = {key: value.clone() for key, value in learner.network.state_dict().items()}
    with pytest.raises(NeurofaError, match=r"of another structure \('.*' is missing there, \(.*\) here\)"):
        load_checkpoint(tmp_path / "state", learner)
    assert all(torch.equal(value, learner.network.state_dict()[key]) for key, value in before.items())


def test_broken_files_are_named(tmp_path):
    learner = make("dfa")
    path = tmp_path / "state"
    with pytest.raises(NeurofaError, match="which is no file"):
        load_checkpoint(path, learner)
    save_checkpoint(path, learner, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NeurofaError, match="cannot be read"):
        load_checkpoint(path, learner)
    path.write_bytes(b"")
    with pytest.raises(NeurofaError, match="cannot be read"):
        load_checkpoint(path, learner)
    save_network(learner.network, path)
    with pytest.raises(NeurofaError, match="of kind 'network'"):
        load_checkpoint(path, learner)
    save_checkpoint(path, make("kp"), {})
    with pytest.raises(NeurofaError, match="of another structure"):
        load_checkpoint(path, learner)
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
