"""Embedding of tokens: a learnt vector for each id, plus one for each position."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.description import ModuleDescription
from neurofa.core.directions import Directions, ReturnWeights, RowSums
from neurofa.core.facts import LayerFacts
from neurofa.core.layer import NO_PRODUCTS, Layer, LayerTraits
from neurofa.core.view import Graph, LocalView, Params, State


class Embedding(Layer, name="embedding"):
    """y_s = E[x_s] + P[s]: token ids (B, S) to vectors (B, S, d); the lowest layer of a network.

    E is stored on the network's device, P is digital. Only rows of E whose tokens are in the batch have a direction;
    it is stored by row, so that a step takes work proportional to the tokens of the batch, not to the vocabulary.

    Args:
        vocabulary: number of tokens, rows of E.
        width: d.
        positions: S, tokens of a sample.
        std: standard deviation of the initial, normal E and P.
    """

    source = "Radford et al. 2019, Language models are unsupervised multitask learners (learnt positions, std 0.02)"

    def __init__(self, vocabulary: int = 7, width: int = 3, positions: int = 4, *, std: float = 0.02) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "width": width, "positions": positions}
        for key, size in sizes.items():
            if size < 1:
                raise NeurofaError(f"got embedding({key}={size}); expected at least 1; change {key}")
        if not std > 0:
            raise NeurofaError(f"got embedding(std={std}); expected a positive number; 0.02 is the default")
        self.vocabulary, self.width, self.positions, self.std = vocabulary, width, positions, std

    @property
    def traits(self) -> LayerTraits:
        return LayerTraits(
            factored=frozenset({"weight"}),
            closed_form=True,
            vocabulary=self.vocabulary,
            products=NO_PRODUCTS,
            facts=EmbeddingFacts(self),
        )

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        weight = torch.randn(self.vocabulary, self.width, generator=gen).mul_(self.std)
        position = torch.randn(self.positions, self.width, generator=gen).mul_(self.std)
        self.synapses.add("weight", weight, device, gen)
        self.synapses.add("position", position, build("device", "digital"), gen)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        if x.is_floating_point() or tuple(x.shape[1:]) != (self.positions,):
            raise NeurofaError(
                f"got input of shape {tuple(x.shape)}, {x.dtype}, at an embedding; expected ids of tokens"
                f" (B, {self.positions}), int64; put it at the input of the network"
            )
        return nn.functional.embedding(x, params["weight"]) + params["position"], {}

    def record(
        self, params: Params, x: Tensor, state: State, return_weights: ReturnWeights | None, needs_input_error: bool
    ) -> tuple[Tensor, State, Graph | None]:
        return *self.compute(params, x, state), None

    def backprop_local(self, view: LocalView) -> LocalView:
        return view

    def input_error(self, view: LocalView, weights: ReturnWeights) -> Tensor:
        # ids have no error, and no layer is below
        return view.y.new_empty(0)

    def pullback(self, view: LocalView) -> Directions:
        assert view.error is not None
        rows = RowSums(view.x.flatten(), view.error.flatten(0, 1), self.vocabulary)
        return {"weight": rows, "position": view.error.sum(0)}


class EmbeddingFacts(LayerFacts):
    """Facts of an embedding: a table whose rows are looked up, so that an output has one connection.

    Args:
        layer: the embedding.
    """

    @property
    def matrices(self) -> tuple[str, ...]:
        return ("weight",)

    @property
    def connections_in(self) -> int:
        return 1

    def describe(self, in_shape: tuple[int, ...]) -> ModuleDescription:
        return replace(self.as_module(), module=None, reason="its input are ids of tokens, not numbers")
