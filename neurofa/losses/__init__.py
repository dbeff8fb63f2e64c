"""Losses, one a file: value, and error at the output, in closed form.

>>> from neurofa.losses import CrossEntropy
>>> CrossEntropy(label_smoothing=0.1)
cross_entropy(label_smoothing=0.1)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from neurofa.losses.bce import BinaryCrossEntropy as BinaryCrossEntropy
    from neurofa.losses.cross_entropy import CrossEntropy as CrossEntropy
    from neurofa.losses.mse import MeanSquaredError as MeanSquaredError
    from neurofa.losses.per_tick import PerTickLoss as PerTickLoss
    from neurofa.losses.rate import RateLoss as RateLoss

__getattr__, __dir__ = shelf(__name__)
