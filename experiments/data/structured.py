"""Labels of a chosen covariance that do not depend on the inputs: what structure alone does to alignment."""

from __future__ import annotations

from itertools import pairwise

import torch

from experiments.data.base import Dataset
from experiments.data.split import Split
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe
from neurofa.theory.structure import structured_task


@recipe("data", "structured", source="the code of Refinetti et al. 2021, arXiv 2011.12428: structured targets")
def structured(
    *, alpha: float = 1.0, beta: float = 1.0, n_in: int = 9, samples: int = 1000, held: int = 100, seed: int = 0
) -> Dataset:
    """Gaussian inputs, and two Gaussian targets of covariance [[1, a (1 - b)], [a (1 - b), a^2]].

    The targets do not depend on the inputs: they can be memorised, not predicted.

    Args:
        alpha: a, standard deviation of the second target, > 0.
        beta: b, one minus the correlation of the targets, 0 to 1.
        n_in: inputs.
        samples: for training.
        held: samples more for validation, and as many for the test.
        seed: of the data.

    Raises:
        NeurofaError: a size below 1, or alpha or beta out of range.
    """
    for name, size in (("n_in", n_in), ("samples", samples), ("held", held)):
        if size < 1:
            raise NeurofaError(f"got structured({name}={size}); expected 1 or more; raise {name}")
    gen = torch.Generator().manual_seed(seed)
    x, y = (part.float() for part in structured_task(samples + 2 * held, n_in, alpha, beta, gen))
    edges = [0, samples, samples + held, samples + 2 * held]
    train, validation, test = (Split(x[a:b].clone(), y[a:b].clone()) for a, b in pairwise(edges))
    return Dataset(
        name="structured", train=train, validation=validation, test=test, classes=2, input_shape=(n_in,),
        provenance={"origin": "synthetic", "seed": str(seed)},
    )  # fmt: skip
