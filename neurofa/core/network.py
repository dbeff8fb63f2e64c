"""The network, a chain of layers: the only part that knows the order of the layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.layer import Layer
from neurofa.core.plan import Plan, Site
from neurofa.core.randomness import generator
from neurofa.core.summary import network_summary, shape_text
from neurofa.core.synapses import Synapses
from neurofa.core.window import Window


class Network(nn.Module):
    """A chain of layers, each of which learns from one error at its output.

    Args:
        layers: from input to readout; the last one must have weights.
        input_shape: shape of one sample.
        seed: of the initial weights.
        device: device that stores the affine weights, or its spec.
        spec: recipe of this network, kept for files.
        periphery: converters and noise around the arrays of affine weights, or their spec; see :meth:`attach`.

    Raises:
        NeurofaError: shapes of consecutive layers do not match (the layer is named), or the readout has no weights.
    """

    fused: bool = False
    """Whether writes of devices and products on arrays are compiled; see :meth:`fuse`."""
    evaluation_pass: Callable[[Network, Tensor, torch.Generator | None], Tensor] | None = None
    """Pass that replaces the layer-by-layer one in evaluation on arrays (:mod:`neurofa.maps.compiled_pass`), if set."""

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Sequence[int],
        *,
        seed: int = 0,
        device: Device | str = "digital",
        spec: str = "",
        periphery: Periphery | str = "exact",
    ) -> None:
        super().__init__()
        if not layers or layers[-1].traits.parameter_free:
            raise NeurofaError("got a network without a readout; expected a layer with weights at the end; append one")
        self.input_shape, self.spec, self.seed = tuple(input_shape), spec, seed
        physics: Device = build("device", device)
        self.device_spec = device if isinstance(device, str) else str(physics.full_spec)
        gen = generator(seed, "weights")
        self.layers = nn.ModuleDict()
        for index, layer in enumerate(layers):
            layer.initialise(physics, gen)
            self.layers[f"{layer.name}{index}"] = layer
        self.chain: list[tuple[str, Layer]] = list(self.layers.items())  # type: ignore[arg-type]
        """Names and layers, from input to readout."""
        self.shapes = self._output_shapes()
        self.readout = self.names[-1]
        self.lowest = next(name for name, layer in self.chain if layer.synapses)
        self.attach(periphery)

    def attach(self, periphery: Periphery | str) -> None:
        """Put converters and noise around the products of all dense and convolutional weights.

        These products then pass the periphery in training and in evaluation; so do the errors that return through them
        (chained rules). Weights and cells do not change. A noisy periphery needs a generator in every pass.

        Args:
            periphery: a spec (``"training"``), or a periphery; ``"exact"`` removes it.

        Raises:
            NeurofaError: weights inside a block, which has no arrays (the layer is named).
        """
        around: Periphery = build("periphery", periphery)
        hosts = [host for _, layer in self.items() if (host := layer.traits.array_host) is not None]
        for name, layer in self.items():
            matrices = any(layer.synapses[key].weight.dim() > 1 for key in layer.traits.returning)
            if matrices and layer.traits.array_host is None and not around.exact:
                raise NeurofaError(
                    f"got a periphery for layer '{name}', a {layer.name} with weights inside; expected dense and"
                    " convolutional layers, whose products go through arrays; use periphery exact or another network"
                )
        for host in hosts:
            host.attach(None if around.exact else around, fused=self.fused)
        self._on_arrays = bool(hosts) and not around.exact
        self.periphery_spec = periphery if isinstance(periphery, str) else str(around.full_spec)

    def fuse(self, on: bool = True) -> None:
        """Compile the writes of devices, and products on arrays, into single kernels.

        A C++ compiler is needed. The first pass takes some seconds for each device, periphery and shape. Noise keeps
        its distribution but draws different numbers.

        Args:
            on: False restores eager execution.
        """
        self.fused = on
        for part in self.modules():
            if isinstance(part, Synapses):
                part.fused = on and not part.exact
        for _, layer in self.chain:
            host = layer.traits.array_host
            if host is not None:
                host.attach(host.periphery, fused=on)

    @property
    def names(self) -> list[str]:
        """Names of all layers, from input to readout."""
        return list(self.layers)

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Return names and layers, from input to readout."""
        return iter(self.chain)

    def layer(self, name: str) -> Layer:
        """Return the layer with this name.

        Raises:
            NeurofaError: no layer has it.
        """
        if name not in self.layers:
            raise NeurofaError(f"got layer '{name}'; expected one of {', '.join(self.names)}; check the name")
        layer = self.layers[name]
        assert isinstance(layer, Layer)
        return layer

    @property
    def outputs(self) -> int:
        """Number of network outputs."""
        return math.prod(self.shapes[self.readout])

    @torch.no_grad()
    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the output shape of every layer, from one evaluation pass of zeros."""
        training = self.training
        self.eval()
        x = torch.zeros(2, *self.input_shape)
        shapes = {}
        for name, layer in self.items():
            try:
                x = layer.compute(layer.synapses.stored(), x, {})[0]
            except (RuntimeError, IndexError, ValueError) as error:
                raise NeurofaError(
                    f"got input of shape {tuple(x.shape[1:])} at layer '{name}' ({str(error).splitlines()[0]});"
                    " expected what that layer takes; change the layer or the one before"
                ) from None
            shapes[name] = tuple(x.shape[1:])
        self.train(training)
        if x.dim() != 2:
            raise NeurofaError(
                f"got outputs of shape {tuple(x.shape[1:])}; expected a vector; flatten or pool before the readout"
            )
        return shapes

    def plan(self, *, chained: bool = True) -> Plan:
        """Return the names and shapes of this network to which a rule is bound.

        Args:
            chained: look for weights that an error would cross without a return weight (a forward and a backward pass
                per weight of a block); direct rules do not need them.
        """
        like = next(self.parameters())
        sites = []
        probe = torch.randn(2, *self.input_shape, generator=generator(0, "probe")).to(like)
        gen = generator(0, "probe noise", device=like.device)
        fused = self.fused
        self.fuse(False)  # two samples do not repay a compilation
        # receptive field since the last layer with weights: layers without weights extend it
        window: Window | None = Window(1)
        for name, layer in self.items():
            traits = layer.traits
            window = traits.window.after(window) if traits.window is not None and window is not None else None
            if not traits.parameter_free and len(layer.synapses):
                shapes = {k: tuple(layer.synapses[k].weight.shape) for k in traits.returning}
                unreturned = tuple(traits.unreturned(probe)) if chained and traits.unreturned is not None else ()
                sites.append(Site(name, self.shapes[name], shapes, traits.elementwise, unreturned, window))
                window = Window(1)
            with torch.no_grad():
                probe = layer.compute(layer.synapses.stored(), probe, layer.fresh_state(probe, gen))[0]
        self.fuse(fused)
        return Plan(tuple(sites), self.outputs, like.dtype, like.device, self.input_shape)

    def check(self, x: Tensor) -> None:
        """Refuse a batch with a wrong shape or dtype.

        Raises:
            NeurofaError: shape other than (B, *input_shape), or a dtype that is not floating point.
        """
        if tuple(x.shape[1:]) != self.input_shape or x.dim() < 2:
            raise NeurofaError(
                f"got a batch of shape {tuple(x.shape)}; expected (B, {', '.join(map(str, self.input_shape))});"
                " reshape the batch or the network"
            )
        if not x.is_floating_point():
            raise NeurofaError(f"got a batch of {x.dtype}; expected floating point; convert it with x.float()")

    @torch.no_grad()
    def forward(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return the output: (B, *input_shape) to (B, o).

        Args:
            x: (B, *input_shape).
            gen: source of dropout masks, read noise and the noise of arrays.
        """
        self.check(x)
        if self.evaluation_pass is not None and not self.training and self._on_arrays:
            return self.evaluation_pass(self, x, gen)
        for _, layer in self.chain:
            x = layer.compute(layer.synapses.read(gen), x, layer.fresh_state(x, gen))[0]
        return x

    def module(self) -> nn.Module:
        """Return a plain ``nn.Sequential`` with copies of the present weights and exact products."""
        return nn.Sequential(*[layer.module() for _, layer in self.items()]).train(self.training)

    def __repr__(self) -> str:
        title = f"{self.spec or 'network'}: input {shape_text(self.input_shape)}, periphery {self.periphery_spec}"
        return network_summary(title, dict(self.items()), self.shapes)
