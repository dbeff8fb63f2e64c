"""Labels of a chosen covariance that do not depend on the inputs: the effect of structure alone on alignment."""

from __future__ import annotations

import torch

from experiments.data.base import Dataset, synthetic
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
        n_in: number of inputs.
        samples: number of training samples.
        held: number of samples for validation, and for the test.
        seed: of the data.

    Raises:
        NeurofaError: a size below 1, or alpha or beta out of range.
    """
    for name, size in (("n_in", n_in), ("samples", samples), ("held", held)):
        if size < 1:
            raise NeurofaError(f"got structured({name}={size}); expected 1 or more; raise {name}")
    gen = torch.Generator().manual_seed(seed)
    x, y = (part.float() for part in structured_task(samples + 2 * held, n_in, alpha, beta, gen))
    parts = zip(torch.split(x, [samples, held, held]), torch.split(y, [samples, held, held]), strict=True)
    train, validation, test = (Split(a.clone(), b.clone()) for a, b in parts)
    return Dataset.of("structured", (train, validation, test), classes=2, provenance=synthetic(seed))
