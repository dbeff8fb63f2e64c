"""A network made from a torch module that a user's code file makes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import recipe
from hwmodels.registry.code import load_code
from hwmodels.spec import Spec
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe
from neurofa.interop.module import from_module

SAMPLES = 4


@recipe("network", "module", source="a file of the user's own", trains_as="convolutional")
def module(
    *,
    path: str = "",
    name: str = "make_model",
    weights: str = "",
    tokens: bool = False,
    units: Literal["blocks", "finest"] = "blocks",
    cut: Sequence[str] | None = None,
    tied: Literal["together", "copies"] = "together",
) -> TracedModule:
    """Any torch module, made by a function of a code file: traced, cut into units of credit, compared with itself.

    The function is called without arguments, or with those of ``input_shape`` and ``outputs`` that it takes. Weights
    that it draws from torch's global generator follow the seed of the network.

    Args:
        path: the code file; empty: an example, one map and a readout.
        name: of the function, or of a class of modules.
        weights: safetensors file with the module's own names (``state_dict``); empty: as the function makes them.
        tokens: whether the input are ids of tokens below the number of outputs.
        units: ``blocks`` keeps blocks of the model whole, ``finest`` cuts wherever one tensor alone crosses.
        cut: names of modules behind which the network is cut, instead.
        tied: whether units that share a weight become one (``together``) or get ``copies``.
    """
    return TracedModule(path=path, function=name, weights=weights, takes_ids=tokens, units=units, cut=cut, tied=tied)


@dataclass(frozen=True, kw_only=True)
class TracedModule(NetworkRecipe):
    """What :func:`module` describes; the code is run when the network is built."""

    name: ClassVar[str] = "module"  # of the function, whose options are those of the spec

    path: str
    function: str
    weights: str
    takes_ids: bool
    units: str
    cut: Sequence[str] | None
    tied: str

    @property
    def full_spec(self) -> Spec:
        return self.built_by.full

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        return [layer for _, layer in self.assemble(input_shape, outputs, seed, "digital").items()]

    def assemble(self, input_shape: tuple[int, ...], outputs: int, seed: int, device: Device | str) -> Network:
        """Return the network of the module.

        Args:
            input_shape: shape of one sample.
            outputs: width of the readout.
            seed: of the weights.
            device: device that stores the affine weights, or its spec.

        Raises:
            NeurofaError: code that may not be run or does not make a module; weights that do not fit; other outputs
                than those of the data; all that :func:`neurofa.from_module` refuses.
        """
        make = load_code(self.path, self.function) if self.path else example_model
        torch.manual_seed(seed)  # inside of build, which gives the global generator its state back
        model = _made(make, self.function, {"input_shape": input_shape, "outputs": outputs})
        if self.weights:
            load_weights(model, self.weights)
        gen = generator(seed, "example")
        ids = self.takes_ids
        example = (
            torch.randint(outputs, (SAMPLES, *input_shape), generator=gen) if ids else _numbers(model, input_shape, gen)
        )
        network = from_module(
            model,
            example,
            cut=self.cut,
            units=self.units,
            tied=self.tied,
            vocabulary=outputs if ids else None,
            device=device,
            seed=seed,
        )
        if network.outputs != outputs:
            raise NeurofaError(
                f"got a model of {network.outputs} outputs from '{self.function}' for data with {outputs}; expected as"
                " many; change its last layer"
            )
        return network


def _made(make: Any, name: str, known: Mapping[str, Any]) -> nn.Module:
    """Return the module that a function makes."""
    try:
        taken = list(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        taken = []
    model = make(**{key: value for key, value in known.items() if key in taken})
    if not isinstance(model, nn.Module):
        raise NeurofaError(
            f"got a {type(model).__name__} from '{name}'; expected an nn.Module; return the model from that function"
        )
    return model


def _numbers(model: nn.Module, input_shape: Sequence[int], gen: torch.Generator) -> Tensor:
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(0))
    return torch.randn(SAMPLES, *input_shape, generator=gen).to(like)


def load_weights(model: nn.Module, path: str) -> None:
    """Fill a module with the tensors of a safetensors file.

    Args:
        model: filled in place.
        path: of the file.

    Raises:
        NeurofaError: no such file, or names and shapes other than those of the module.
    """
    file = Path(path)
    try:
        held = load_file(file)
    except (OSError, SafetensorError) as error:
        raise NeurofaError(
            f"got weights '{file}' ({str(error).splitlines()[0]}); expected a safetensors file of the module's"
            " state_dict; write it with safetensors.torch.save_model"
        ) from None
    own = model.state_dict()
    shared = {id(value): name for name, value in _parameters(model)}
    for name, value in own.items():
        twin = next((other for other in held if shared.get(id(_find(model, name))) == other), None)
        if name not in held and twin is None and not name.endswith("num_batches_tracked"):
            raise NeurofaError(
                f"got weights '{file}' without '{name}'; expected all of the module{did_you_mean(name, list(held))};"
                " save the same model"
            )
        if name in held and held[name].shape != value.shape:
            raise NeurofaError(
                f"got '{name}' of shape {tuple(held[name].shape)} in '{file}'; expected {tuple(value.shape)}; save the"
                " same model"
            )
    strange = sorted(held.keys() - own.keys())
    if strange:
        raise NeurofaError(
            f"got '{strange[0]}' in weights '{file}', which the module has not{did_you_mean(strange[0], list(own))};"
            " expected its own names; save the same model"
        )
    model.load_state_dict(held, strict=False)


def _parameters(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _find(model: nn.Module, name: str) -> object:
    owner, _, key = name.rpartition(".")
    return getattr(model.get_submodule(owner), key, None)


def example_model(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Return what stands in a code file where none is named: a map of images or vectors, and a readout.

    Args:
        input_shape: shape of one sample.
        outputs: width of the readout.
    """
    inputs = int(torch.Size(input_shape).numel())
    if len(input_shape) == 3:
        c, h, w = input_shape
        return nn.Sequential(nn.Conv2d(c, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * h * w, outputs))
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, outputs))
