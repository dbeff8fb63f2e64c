"""Scores of a trained network on the test split of a task: accuracy, or the error of a forecast."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from experiments.data import Sequences
from experiments.reports.forecast import closed_loop_forecast, smape
from neurofa.core.network import Network
from neurofa.costs.neurobench import WorkloadMeter
from neurofa.spiking.sequence import initial_states
from neurofa.training.learner import forward_pass

BATCH = 250
"""Samples in a batch of the evaluation."""


@torch.no_grad()
def evaluate_scores(network: Network, dataset: Sequences, meter: WorkloadMeter) -> dict[str, float]:
    """Return the ``accuracy`` of the mean output in the taught ticks, or the errors of a forecast.

    Args:
        network: the trained network.
        dataset: the sequences, of which the test split is used.
        meter: through which the network runs, and which counts its operations.

    Returns:
        ``accuracy``; or ``smape`` in the units of the series and, where the network can feed itself,
        ``smape_autonomous``.
    """
    begin, end = dataset.teach or (0, dataset.ticks)
    if not dataset.regression:
        hits = 0
        for xs, target in dataset.batches("test", BATCH):
            hits += int((meter.run(xs)[begin:end].mean(0).argmax(1) == target).sum())
        return {"accuracy": hits / len(dataset.test)}
    answers, truths, inputs = list[Tensor](), list[Tensor](), list[Tensor]()
    for xs, target in dataset.batches("test", BATCH):
        answers.append(meter.run(xs)[begin:end].cpu())
        truths.append(target[begin:end].cpu())
        if isinstance(xs, Tensor):
            inputs.append(xs)
    std, mean = (float(dataset.provenance.get(key, default)) for key, default in (("std", "1"), ("mean", "0")))

    def unscaled(values: Tensor) -> Tensor:
        return values.double() * std + mean

    truth = unscaled(torch.cat(truths, 1))
    scores = {"smape": smape(unscaled(torch.cat(answers, 1)), truth)}
    if begin > 0 and len(inputs) == len(answers) and dataset.input_shape == (network.outputs,):
        # closed loop: the inputs of the washout, then the network's own outputs
        xs = torch.cat(inputs, 1)
        forecast = closed_loop_forecast(_one_tick(network, xs.shape[1]), xs[: begin + 1], end - begin)
        scores["smape_autonomous"] = smape(unscaled(forecast.cpu()), truth)
    return scores


def _one_tick(network: Network, batch: int) -> Callable[[Tensor], Tensor]:
    """Return one tick of a network that goes on from where the tick before left it."""
    network.eval()
    states = initial_states(network, batch)

    def step(x: Tensor) -> Tensor:
        nonlocal states
        tick = forward_pass(network, x, states=states, ticks=1)
        states = tick.states
        return tick.y

    return step
