"""What all contract suites share: named checks, declared exceptions, small networks and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.training.learner import Learner

Check = Callable[[str], None]
"""Takes the name of a registered part; raises when the part breaks the contract."""

CONTROL = "a control without a feedback pathway: nothing is encoded"
ELEMENTWISE = "replaces the derivative of one elementwise activation; a block has none"
POOLED = "its subspace learns from statistics of the whole batch"
NOISE = "draws anew in every pass, so that two passes are not one"
PHYSICAL = "noise and converters stand before its linear map, which the contract of projections tests"
MEMORY = "a plain module has no state from tick to tick"
PROJECTION = "one projection for all layers, not a matrix per layer"

EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("rule", "adfa", "learns_on_vit"): ELEMENTWISE,
    ("rule", "adfa", "is_as_declared_on_vit"): ELEMENTWISE,
    ("rule", "adfa", "tells_its_products_on_vit"): ELEMENTWISE,
    **{
        ("rule", name, "takes_every_error_format"): CONTROL
        for name in ("bp", "bptt", "eprop_symmetric", "ostl", "readout_only")
    },
    ("rule", "drtp", "zero_error_gives_no_update"): "learns from the target, not from the error",
    ("rule", "etlp", "zero_error_gives_no_update"): "learns from the target, not from the error",
    ("rule", "pepita", "is_as_declared_in_sequences"): "compares two passes, and refuses sequences",
    ("layer", "spiking", "module_is_the_same_map"): MEMORY,
    ("layer", "spiking_conv", "module_is_the_same_map"): MEMORY,
    ("network", "snn", "module_is_the_same_map"): MEMORY,
    ("network", "conv_snn", "module_is_the_same_map"): MEMORY,
    ("rule", "brsf", "accumulation_equals_one_batch"): NOISE,
    ("rule", "weight_mirror", "accumulation_equals_one_batch"): NOISE,
    ("rule", "raf", "accumulation_equals_one_batch"): POOLED,
    ("rule", "draf", "accumulation_equals_one_batch"): POOLED,
    ("rule", "raf", "zero_error_gives_no_update"): "beside the readout the subspace follows the targets",
    ("rule", "ldfa_normative", "zero_error_gives_no_update"): "its factors follow the weights, whatever the error",
    ("feedback", "pooled", "slices_fit"): "one row a channel, which all its positions receive",
    **{
        ("rule", name, "accumulation_equals_one_batch"): NOISE
        for name in ("fdfa", "grape2025", "grape2026", "forward_gradient", "local_loss")
    },
    **{
        ("feedback", name, "serves_chained_rules"): PROJECTION
        for name in ("shared", "crossbar", "matrix_free", "microring", "mzi", "opu")
    },
    **{("feedback", name, "is_linear"): PHYSICAL for name in ("crossbar", "microring", "opu")},
    **{("feedback", name, "gain_is_as_declared"): PHYSICAL for name in ("crossbar", "microring", "opu")},
}
"""(kind, part, check) and why the part need not hold it; third parties may add their own."""

NETWORKS = {
    "mlp": "mlp(hidden=[12, 10])",
    "cnn": "cnn(channels=[3, 4], kernel=3, hidden=10, norm=batch)",
    "vgg": "vgg(plan=[4, M, 6])",
    "snn": "snn(hidden=[12, 10], recurrent=True)",
    "vit": "vit(patch=4, width=8, depth=1, heads=2)",
}
INPUT_SHAPE = (1, 8, 8)
OUTPUTS = 5


def require(holds: bool, message: str) -> None:
    """Raise AssertionError with ``message`` unless the condition holds."""
    if not holds:
        raise AssertionError(message)


def run_check(kind: str, part: str, name: str, check: Check) -> None:
    """Run one check on one part, or make sure that a declared exception is still needed.

    Raises:
        AssertionError: the contract is broken, or an exception is declared that is none.
    """
    reason = EXCEPTIONS.get((kind, part, name))
    if reason is None:
        check(part)
        return
    try:
        check(part)
    except (AssertionError, NeurofaError):
        return
    raise AssertionError(f"{kind} '{part}' holds '{name}' although an exception is declared ({reason}); remove it")


def run_all(kind: str, part: str, checks: Iterable[tuple[str, Check]]) -> None:
    """Run all checks of a kind on one part."""
    for name, check in checks:
        run_check(kind, part, name, check)


def close(ours: Tensor, theirs: Tensor, what: str, tolerance: float) -> None:
    """Require equal shapes and a largest difference below ``tolerance`` times the largest number (at least 1)."""
    require(ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}")
    if not ours.numel():
        return
    off = float((ours - theirs).abs().max())
    size = max(1.0, float(theirs.abs().max()))
    require(off <= tolerance * size, f"{what}: off by {off:.3g} at size {size:.3g}, tolerance {tolerance:g}")


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], what: str) -> None:
    """Require two sets of named tensors to be bit-equal."""
    require(list(ours) == list(theirs), f"{what}: names {sorted(set(ours) ^ set(theirs))} on one side only")
    for key, value in ours.items():
        require(torch.equal(value, theirs[key]), f"{what}: '{key}' differs")


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of everything that a module would save."""
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def small(spec: str, *, device: str = "digital", seed: int = 0) -> Network:
    """A small network: one of ``NETWORKS`` by key, or a spec."""
    made: Network = build(
        "network", NETWORKS.get(spec, spec), input_shape=INPUT_SHAPE, outputs=OUTPUTS, seed=seed, device=device
    )
    return made


def batch(n: int = 6, *, shape: tuple[int, ...] = INPUT_SHAPE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random inputs (n, *shape) and labels (n,)."""
    gen = generator(seed, "batch")
    return torch.randn(n, *shape, generator=gen), torch.randint(OUTPUTS, (n,), generator=gen)


def sgd(network: Network, lr: float = 0.1) -> torch.optim.Optimizer:
    """Plain SGD over the network."""
    return torch.optim.SGD(network.parameters(), lr=lr)


def learner(
    rule: str, spec: str = "mlp", *, device: str = "digital", seed: int = 0, clip: float | None = None,
    accumulate: int = 1, double: bool = False, loss: str = "cross_entropy",
) -> Learner:  # fmt: skip
    """A learner of a small network with plain SGD."""
    network = small(spec, device=device, seed=seed)
    if double:
        network.double()
    return Learner(network, rule, optimizer=sgd(network), seed=seed, clip=clip, accumulate=accumulate, loss=loss)
