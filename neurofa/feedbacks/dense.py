"""An independent random matrix for every layer."""

from __future__ import annotations

from neurofa.core.feedback import MatrixFeedback


class DenseFeedback(MatrixFeedback, name="dense"):
    """Dense feedback: a random matrix B_l, (n_l, o), for every layer, with independent entries.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 o) (return weights: 1/sqrt(3 fan_in)).
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries (``sign``, ``ternary``, ``uniform(bits=4)``); default: as drawn.
        device: device on which B lives (read noise, drift).
    """

    source = "Nokland 2016, arXiv 1609.01596"
