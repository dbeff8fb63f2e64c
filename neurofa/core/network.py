"""The network, a chain of layers: the only part that knows the order of the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.description import ModuleDescription
from neurofa.core.error_sizes import error_sizes
from neurofa.core.layer import Layer, facts_of
from neurofa.core.multiplied import multiplied, refuse_digital_products
from neurofa.core.plan import Plan, Site
from neurofa.core.programming import warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.core.summary import network_summary, shape_text
from neurofa.core.synapses import Synapses
from neurofa.core.window import Window


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """Put a network into evaluation mode, and give every module its own mode back at the end.

    Args:
        network: whose layers may have different modes.
    """
    kept = network.modes()
    network.eval()
    try:
        yield
    finally:
        for part, mode in kept:
            part.training = mode


@contextmanager
def _numbers_as_indices(name: str) -> Iterator[None]:
    """Refuse a layer that uses its input as indices."""
    try:
        yield
    except IndexError as error:
        raise NeurofaError(
            f"got numbers that layer '{name}' cannot use as indices ({error}); expected layers of real numbers, since"
            " errors return through them; begin with neurofa.layers.Embedding"
        ) from None


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
        NeurofaError: shapes of consecutive layers do not match, or the last layer has no weights (the layer is named).
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
        strange = next((part for part in list[object](layers) if not isinstance(part, Layer)), None)
        if strange is not None:
            raise NeurofaError(
                f"got a {type(strange).__name__} as a layer; expected layers of neurofa; wrap it as"
                " neurofa.layers.Block, or use from_sequential"
            )
        if not layers:
            raise NeurofaError("got a network without layers; expected a readout, a layer with weights; append one")
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
        _require_readout(*self.chain[-1])
        shares = {
            f"'{key}' of layer '{n}'": s.clipped for n, layer in self.items() for key, s in layer.synapses.items()
        }
        warn_of_clipping(shares, self.device_spec)
        self.vocabulary = self.chain[0][1].traits.vocabulary
        """Number of tokens whose ids are the input; None: the input are numbers."""
        self.shapes = self._output_shapes()
        self.readout = self.names[-1]
        answer = self.shapes[self.readout]
        self.positions = answer[0] if len(answer) == 2 else None
        """S, where the network answers at each of S positions (tokens), with outputs (B, S, o); None: (B, o)."""
        self.lowest = next(name for name, layer in self.chain if layer.synapses)
        self.first = (self.layer(self.lowest).synapses.values()[0],)  # a tuple is not registered a second time
        """Synapses whose weight shows number format and device of the whole network."""
        if not physics.exact:
            for name, layer in self.items():
                refuse_digital_products(name, layer, self._zeros(name), self.device_spec)
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
            if not around.exact and layer.traits.array_host is None and multiplied(layer, self._zeros(name)):
                raise NeurofaError(
                    f"got a periphery for layer '{name}', a {layer.name} with weights inside; expected dense and"
                    " convolutional layers, whose products go through arrays; use periphery exact or another network"
                )
        for host in hosts:
            host.attach(None if around.exact else around, fused=self.fused)
        self._on_arrays = bool(hosts) and not around.exact
        self.periphery_spec = periphery if isinstance(periphery, str) else str(around.full_spec)

    def _zeros(self, name: str) -> Tensor:
        """Return a batch of two zeros for a layer, (2, *in_shape)."""
        at = self.names.index(name)
        if not at:
            return self._here(self.example(2))
        return torch.zeros(2, *self.shapes[self.names[at - 1]], **self._numbers())

    def _here(self, x: Tensor) -> Tensor:
        """Return a batch on the device of the weights, numbers in their dtype."""
        numbers = self._numbers()
        return x.to(**numbers) if self.vocabulary is None else x.to(numbers["device"])

    def _numbers(self) -> dict[str, Any]:
        """Return dtype and device of the weights."""
        like = next((p for p in self.parameters() if p.is_floating_point()), torch.zeros(0))
        return {"dtype": like.dtype, "device": like.device}

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
        """Number of network outputs; at each position where the network answers at every one."""
        return self.shapes[self.readout][-1]

    def example(self, samples: int, gen: torch.Generator | None = None) -> Tensor:
        """Return a random batch that the network accepts: standard normal numbers, or ids of tokens.

        Args:
            samples: B.
            gen: source of the batch, on the CPU; None: all zeros.
        """
        shape = (samples, *self.input_shape)
        if self.vocabulary is None:
            return torch.zeros(shape) if gen is None else torch.randn(shape, generator=gen)
        if gen is None:
            return torch.zeros(shape, dtype=torch.int64)
        return torch.randint(self.vocabulary, shape, generator=gen)

    @torch.no_grad()
    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the output shape of every layer, from one evaluation pass of zeros."""
        x = self._here(self.example(2))
        shapes = {}
        with evaluating(self):
            for name, layer in self.items():
                try:
                    x = layer.compute(layer.synapses.stored(), x, {})[0]
                except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
                    reason = (str(error) or type(error).__name__).splitlines()[0]
                    raise NeurofaError(
                        f"got input of shape {tuple(x.shape[1:])} at layer '{name}' ({reason});"
                        " expected what that layer takes; change the layer or the one before"
                    ) from None
                shapes[name] = tuple(x.shape[1:])
        if x.dim() not in (2, 3):
            raise NeurofaError(
                f"got outputs of shape {tuple(x.shape[1:])}; expected a vector, or one at every position (S, o);"
                " flatten or pool before the readout"
            )
        return shapes

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights, and so of inputs and outputs."""
        return self.first[0].weight.dtype

    def plan(self, *, chained: bool = True, sized: bool = True) -> Plan:
        """Return the names and shapes of this network to which a rule is bound.

        Args:
            chained: look for weights that an error would cross without a return weight (a forward and a backward pass
                per weight of a block); direct rules do not need them.
            sized: find the size that errors of backpropagation have at each hidden layer at initialisation, from a
                redrawn twin; chained rules do not need it.
        """
        sizes = error_sizes(self) if sized and len(self.names) > 1 else {}
        like = next(self.parameters())
        sites = []
        probe = self._here(self.example(2, generator(0, "probe")))
        gen = generator(0, "probe noise", device=like.device)
        fused = self.fused
        self.fuse(False)  # two samples do not repay a compilation
        mixed: list[str] = []
        # receptive field since the last layer with weights: layers without weights extend it
        window: Window | None = Window(1)
        for name, layer in self.items():
            traits = layer.traits
            window = traits.window.after(window) if traits.window is not None and window is not None else None
            if not traits.parameter_free and len(layer.synapses):
                shapes = {k: tuple(layer.synapses[k].weight.shape) for k in traits.returning}
                with _numbers_as_indices(name):
                    unreturned = tuple(traits.unreturned(probe)) if chained and traits.unreturned is not None else ()
                out_shape = self.shapes[name]
                if self.positions is not None:
                    if len(out_shape) > 1 and out_shape[0] == self.positions:
                        out_shape = out_shape[1:]
                    else:
                        mixed.append(name)
                site = Site(name, out_shape, shapes, traits.elementwise, unreturned, window, sizes.get(name))
                sites.append(site)
                window = Window(1)
            with torch.no_grad(), _numbers_as_indices(name):
                probe = layer.compute(layer.synapses.stored(), probe, layer.fresh_state(probe, gen))[0]
        self.fuse(fused)
        return Plan(tuple(sites), self.outputs, like.dtype, like.device, self.input_shape, self.positions, tuple(mixed))

    def check(self, x: Tensor) -> None:
        """Refuse a batch with a wrong shape or dtype.

        Raises:
            NeurofaError: no tensor, shape other than (B, *input_shape), or a dtype other than that of the weights.
        """
        if not isinstance(x, Tensor):
            raise NeurofaError(
                f"got a batch of type {type(x).__name__}; expected a torch tensor; convert it with torch.as_tensor(x)"
            )
        if tuple(x.shape[1:]) != self.input_shape or x.dim() < 2:
            raise NeurofaError(
                f"got a batch of shape {tuple(x.shape)}; expected (B, {', '.join(map(str, self.input_shape))});"
                " reshape the batch or the network"
            )
        if self.vocabulary is not None:
            _check_tokens(x, self.vocabulary)
            return
        if not x.is_floating_point():
            raise NeurofaError(f"got a batch of {x.dtype}; expected floating point; convert it with x.float()")
        if x.dtype != self.dtype:
            raise NeurofaError(
                f"got a batch of {x.dtype} for weights of {self.dtype}; expected one dtype; use x.to({self.dtype}), or"
                f" network.to({x.dtype}) before the optimizer is made"
            )

    @torch.no_grad()
    def forward(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return the output: (B, *input_shape) to (B, o), or to (B, S, o) where the network answers at every position.

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

    def modes(self) -> list[tuple[nn.Module, bool]]:
        """Return the mode of every module (True: training), inside blocks too."""
        wrapped = (part for _, layer in self.items() for part in layer.wrapped_modules())
        return [(part, part.training) for part in (*self.modules(), *wrapped)]

    def module(self) -> nn.Module:
        """Return a plain ``nn.Sequential`` with copies of the present weights and exact products."""
        return nn.Sequential(*[layer.module() for _, layer in self.items()]).train(self.training)

    def __repr__(self) -> str:
        title = f"{self.spec or 'network'}: input {shape_text(self.input_shape)}, periphery {self.periphery_spec}"
        return network_summary(title, dict(self.items()), self.shapes)


def _require_readout(name: str, layer: Layer) -> None:
    """Refuse a last layer without weights, since the readout is where the error enters and must be able to learn.

    Raises:
        NeurofaError: naming the layer.
    """
    if len(layer.synapses):
        return
    about = facts_of(layer).describe(())
    what = about.source if isinstance(about, ModuleDescription) else layer.name
    raise NeurofaError(
        f"got {what} at the end (layer '{name}'), which has no weights; expected a readout with weights there; leave"
        " it out (the loss cross_entropy contains the softmax), or put it in one Block with the layer before it"
    )


def _check_tokens(x: Tensor, vocabulary: int) -> None:
    """Refuse a batch that is not ids of tokens.

    Raises:
        NeurofaError: another dtype, or an id outside of the vocabulary. On an accelerator the range is not read, since
            that would wait for the device; data sets check it when they are loaded.
    """
    if x.dtype != torch.int64:
        raise NeurofaError(f"got a batch of {x.dtype}; expected ids of tokens, int64; convert it with x.long()")
    if x.device.type == "cpu" and x.numel():
        low, high = map(int, x.aminmax())
        if low < 0 or high >= vocabulary:
            raise NeurofaError(
                f"got token ids from {low} to {high}; expected 0 to {vocabulary - 1}; check the tokens, or build the"
                " network for the vocabulary of the data"
            )
