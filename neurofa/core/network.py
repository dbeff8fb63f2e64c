"""A chain of layers: the only thing that knows who comes after whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.layer import Carrier, Layer, LocalView, Params, Returns, State
from neurofa.core.plan import Plan, Site
from neurofa.core.randomness import generator
from neurofa.core.synapses import Synapses
from neurofa.core.window import Window
from neurofa.maps.affine import Affine
from neurofa.maps.analog import Arrays
from neurofa.maps.compiled_pass import compiled_pass, forget

ReturnsOf = Callable[[str, Params], Returns | None]
"""Asked once a layer and pass: the weights of the return path beside that layer."""


class Tick(NamedTuple):
    """One pass through the network: its output and what every layer may remember of it."""

    y: Tensor
    views: dict[str, LocalView]
    ready: bool = False
    """Whether the passes that a rule asks for beside this one have been made."""


class Network(nn.Module):
    """A chain of layers, each a unit of credit.

    Args:
        layers: from input to readout; the last one must have weights.
        input_shape: shape of one sample.
        seed: of the initial weights.
        device: spec of the device on which the affine weights live.
        spec: the recipe that made this network, kept for files.
        periphery: spec of the converters and the noise around the arrays of affine weights; see :meth:`attach`.

    Raises:
        NeurofaError: the layers do not fit each other (the layer is named), or the readout has no weights.
    """

    fused: bool = False
    whole: bool = False

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
        if not layers or isinstance(layers[-1], Carrier):
            raise NeurofaError("got a network without a readout; expected a layer with weights at the end; append one")
        self.input_shape, self.spec, self.seed = tuple(input_shape), spec, seed
        self.device_spec = device if isinstance(device, str) else ""
        physics: Device = build("device", device)
        gen = generator(seed, "weights")
        self.layers = nn.ModuleDict()
        for index, layer in enumerate(layers):
            layer.initialise(physics, gen)
            self.layers[f"{layer.name}{index}"] = layer
        self._chain: list[tuple[str, Layer]] = list(self.layers.items())  # type: ignore[arg-type]
        self.shapes = self._shapes()
        self.readout = self.names[-1]
        self.lowest = next(name for name, layer in self._chain if layer.synapses)
        self.attach(periphery)

    def attach(self, periphery: Periphery | str) -> None:
        """Put converters and noise around the products of all dense and convolutional weights.

        From now on these products go through the periphery in every pass, in training and in evaluation; so do the
        errors that return through them (chained rules). Weights and cells stay as they are. A noisy periphery needs a
        generator in every pass.

        Args:
            periphery: a spec (``"training"``), or a periphery; ``"exact"`` takes it away.

        Raises:
            NeurofaError: weights inside a block, which has no arrays (the layer is named).
        """
        around: Periphery = build("periphery", periphery)
        affine = {name: layer for name, layer in self.items() if isinstance(layer, Affine)}
        for name, layer in self.items():
            maps = any(layer.synapse(key).weight.dim() > 1 for key in layer.returning)
            if maps and name not in affine and not around.exact:
                raise NeurofaError(
                    f"got a periphery for layer '{name}', a {layer.name} with weights inside; expected dense and"
                    " convolutional layers, whose products go through arrays; use periphery exact or another network"
                )
        for found in affine.values():
            found.arrays = None if around.exact else Arrays(around, fused=self.fused)
        self._on_arrays = bool(affine) and not around.exact
        forget(self)
        given = periphery if isinstance(periphery, str) else around.spec()
        self.periphery_spec = given

    def fuse(self, on: bool = True, *, whole: bool = False) -> None:
        """Compile what devices make of an update, and products on arrays, into single kernels.

        It needs a C++ compiler, and the first pass takes some seconds for each device, periphery and shape. Noise then
        has the same law but draws other numbers.

        Args:
            on: False goes back to eager execution.
            whole: also make one graph of the evaluation pass of a network on arrays
                (:mod:`neurofa.maps.compiled_pass`), which
                is the fastest; compiling it takes seconds to minutes for each network and batch size, which pays where
                many batches are evaluated.
        """
        self.fused, self.whole = on, on and whole
        for part in self.modules():
            if isinstance(part, Synapses):
                part.fused = on and not part.exact
            if isinstance(part, Affine) and part.arrays is not None:
                part.arrays.fused = on

    @property
    def names(self) -> list[str]:
        """Names of all layers, from input to readout."""
        return list(self.layers)

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Names and layers, from input to readout."""
        return iter(self._chain)

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            NeurofaError: there is none.
        """
        if name not in self.layers:
            raise NeurofaError(f"got layer '{name}'; expected one of {', '.join(self.names)}; check the name")
        found = self.layers[name]
        assert isinstance(found, Layer)
        return found

    @property
    def outputs(self) -> int:
        """Number of network outputs."""
        return math.prod(self.shapes[self.readout])

    @torch.no_grad()
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        training = self.training
        self.eval()
        x = torch.zeros(2, *self.input_shape)
        shapes = {}
        for name, layer in self.items():
            try:
                x = layer.compute(layer.stored(), x, {})[0]
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
        """What a rule may know of this network.

        Args:
            chained: look for weights that an error would cross without a return weight (a forward and a backward pass
                per weight of a block); direct rules need not know.
        """
        some = next(self.parameters())
        sites = []
        probe = torch.randn(2, *self.input_shape, generator=generator(0, "probe")).to(some)
        gen = generator(0, "probe noise", device=some.device)
        fused, whole = self.fused, self.whole
        self.fuse(False)  # two samples are not worth compiling for
        window: Window | None = Window(1)
        for name, layer in self.items():
            window = layer.window.after(window) if layer.window is not None and window is not None else None
            if not isinstance(layer, Carrier) and len(layer.synapses):
                shapes = {k: tuple(layer.synapse(k).weight.shape) for k in layer.returning}
                unreturned = tuple(layer.unreturned(probe)) if chained else ()
                elementwise = isinstance(layer, Affine)
                sites.append(Site(name, self.shapes[name], shapes, elementwise, unreturned, window))
                window = Window(1)
            with torch.no_grad():
                probe = layer.compute(layer.stored(), probe, layer.start(probe, gen))[0]
        self.fuse(fused, whole=whole)
        return Plan(tuple(sites), self.outputs, some.dtype, some.device, self.input_shape)

    def check(self, x: Tensor) -> None:
        """Refuse a batch that is not one.

        Raises:
            NeurofaError: wrong shape or dtype.
        """
        if tuple(x.shape[1:]) != self.input_shape or x.dim() < 2:
            raise NeurofaError(
                f"got a batch of shape {tuple(x.shape)}; expected (B, {', '.join(map(str, self.input_shape))});"
                " reshape the batch or the network"
            )
        if not x.is_floating_point():
            raise NeurofaError(f"got a batch of {x.dtype}; expected floating point; convert it with x.float()")

    @torch.no_grad()
    def step(
        self,
        x: Tensor,
        *,
        gen: torch.Generator | None = None,
        returns: ReturnsOf | None = None,
        states: dict[str, State] | None = None,
        below: bool = True,
    ) -> Tick:
        """One tick, remembering what every layer may see when it learns.

        Args:
            x: (B, *input_shape).
            gen: source of dropout masks, read noise and the noise of arrays.
            returns: for chained rules, the return weights beside each layer.
            states: states before the tick (a second pass with the same dropout masks); None: fresh ones.
            below: whether errors will be sent from layer to layer.

        Returns:
            Output and views, without errors.
        """
        self.check(x)
        views: dict[str, LocalView] = {}
        learns_below = False
        for name, layer in self.items():
            params = layer.read(gen)
            state = layer.start(x, gen) if states is None else states[name]
            back = returns(name, params) if returns is not None and params else None
            y, after, graph = layer.record(params, x, state, back, below and learns_below)
            views[name] = LocalView(x, y, params, state, after, back, None, graph)
            learns_below = learns_below or bool(params)
            x = y
        return Tick(x, views)

    @torch.no_grad()
    def forward(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Output alone: (B, *input_shape) to (B, o); one compiled graph in evaluation where that was asked for."""
        self.check(x)
        if self.whole and not self.training and self._on_arrays:
            return compiled_pass(self, x, gen)
        for name in self.names:
            layer = self.layer(name)
            x = layer.compute(layer.read(gen), x, layer.start(x, gen))[0]
        return x

    def absorb(self, tick: Tick) -> None:
        """Let every layer take what outlives the tick (running statistics)."""
        for name, layer in self.items():
            if tick.views[name].after:
                layer.absorb(tick.views[name].after)

    def module(self) -> nn.Module:
        """A plain ``nn.Sequential`` with copies of the present weights and exact products, for inference and export."""
        return nn.Sequential(*[layer.module() for _, layer in self.items()]).train(self.training)

    def save(self, path: Path | str) -> None:
        """Write weights, cells, running statistics, recipe and periphery to one file."""
        from neurofa.training.checkpoint import save_network

        save_network(self, path)

    @classmethod
    def load(cls, path: Path | str, network: Network | None = None) -> Network:
        """Read what :meth:`save` wrote; a network that no recipe made is filled into ``network``."""
        from neurofa.training.checkpoint import load_network

        return load_network(path, network)

    @classmethod
    def from_sequential(
        cls,
        model: nn.Sequential,
        input_shape: Sequence[int],
        *,
        device: Device | str = "digital",
        periphery: Periphery | str = "exact",
    ) -> Network:
        """Cut an ``nn.Sequential`` into layers; weights are taken over.

        A linear or convolutional module forms one layer with the normalisation, activation and dropout behind it;
        pooling, flattening and lone activations carry; every other module becomes a block.

        Args:
            model: the modules in order.
            input_shape: shape of one sample.
            device: spec of the device for the affine weights.
            periphery: spec of what stands around their arrays.

        Raises:
            NeurofaError: the model is no ``nn.Sequential``, or its end is no readout.
        """
        from neurofa.interop.sequential import layers_of, take_weights

        layers, sources = layers_of(model)
        network = cls(layers, input_shape, device=device, periphery=periphery)
        take_weights(network, sources)
        return network

    @classmethod
    def from_snntorch(
        cls,
        model: nn.Module,
        input_shape: Sequence[int],
        *,
        readout: str = "spikes",
        check: bool = True,
        device: Device | str = "digital",
        periphery: Periphery | str = "exact",
    ) -> Network:
        """Take over a network of snnTorch: ``Leaky``, ``RLeaky`` and ``Synaptic`` behind linear and convolutional maps.

        In an ``nn.Sequential`` the neurons have ``init_hidden=True``, the last one may have ``output=True``. Of any
        other module the children are taken in the order of their definition (``fc1, lif1, fc2, lif2``), flattened
        before the first linear one behind images. Decays and thresholds that snnTorch would learn keep their values.
        The bias of an ``RLeaky``'s recurrence joins the layer's own. Spikes are those of snnTorch, except where another
        order of the same sums rounds a potential to the other side of its threshold.

        Args:
            model: the network; its weights are copied.
            input_shape: shape of one sample of one tick.
            readout: what the network gives at every tick: the ``spikes`` of the last neurons, or the ``membrane`` of a
                last ``Leaky`` with ``reset_mechanism="none"``.
            check: run the model once on noise and compare the first tick of every neuron; its ``forward`` must take
                one batch. False trusts the order of the children.
            device: spec of the device for the affine weights.
            periphery: spec of what stands around their arrays.

        Raises:
            NeurofaError: a part has no counterpart here (it is named), or the first tick differs.
        """
        from neurofa.interop.snntorch import parts_of, take_weights
        from neurofa.interop.snntorch_check import compare

        parts = parts_of(model, readout)
        if check:
            plain = cls([part.layer for part in parts], input_shape)
            take_weights(plain, parts)
            compare(model, plain, parts)
            parts = parts_of(model, readout)
        network = cls([part.layer for part in parts], input_shape, device=device, periphery=periphery)
        take_weights(network, parts)
        return network

    def to_snntorch(self) -> nn.Sequential:
        """A network of snnTorch with copies of the stored weights: ``Linear, Leaky, ...`` with ``init_hidden=True``.

        The last neurons have ``output=True`` and return spikes and states; of a ``leaky`` readout, which becomes a
        ``Leaky`` without reset, the last state is this network's output.

        Raises:
            NeurofaError: snnTorch has no such layer, neuron or surrogate (the layer is named).
        """
        from neurofa.interop.snntorch import sequential_of

        return sequential_of(self)
