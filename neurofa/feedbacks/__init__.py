"""Feedback pathways from the output error to teaching signals, one a file; every projection is a feedback too.

>>> from hwmodels.projections import OPU
>>> from neurofa.feedbacks import Dense, Projected
>>> Dense(gain=0.5, values="sign")
dense(gain=0.5, values=sign)
>>> Projected(projection=OPU(error="sign"))
opu(error=sign)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from neurofa.feedbacks.aligned import Aligned as Aligned
    from neurofa.feedbacks.dense import Dense as Dense
    from neurofa.feedbacks.orthogonal import Orthogonal as Orthogonal
    from neurofa.feedbacks.pooled import Pooled as Pooled
    from neurofa.feedbacks.projection import Projected as Projected
    from neurofa.feedbacks.shared import Shared as Shared
    from neurofa.feedbacks.sparse import Sparse as Sparse

__getattr__, __dir__ = shelf(__name__)
