"""An independent random matrix for every layer."""

from __future__ import annotations

from neurofa.core.feedback import MatrixFeedback


class DenseFeedback(MatrixFeedback, name="dense"):
    """Dense feedback: a random matrix B_l, (n_l, o), for every layer, with independent entries.

    Args:
        gain: factor of the entries.
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries (``sign``, ``ternary``, ``uniform(bits=4)``); default: as drawn.
        device: device on which B lives (read noise, drift).
        scale: ``backprop``: delivered errors are as large as those of backpropagation at initialisation; ``fixed``:
            1/sqrt(3) of the error at every layer; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    source = "Nokland 2016, arXiv 1609.01596"
