"""Feedback pathways from the output error to teaching signals, one a file; every projection is a feedback too.

>>> from hwmodels.projections import OPU
>>> from neurofa.feedbacks import DenseFeedback, ProjectedFeedback
>>> DenseFeedback(gain=0.5, values="sign")
dense(gain=0.5, values=sign)
>>> ProjectedFeedback(projection=OPU(error="sign"))
opu(error=sign)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from neurofa.feedbacks.aligned import AlignedFeedback as AlignedFeedback
    from neurofa.feedbacks.dense import DenseFeedback as DenseFeedback
    from neurofa.feedbacks.orthogonal import OrthogonalFeedback as OrthogonalFeedback
    from neurofa.feedbacks.pooled import PooledFeedback as PooledFeedback
    from neurofa.feedbacks.projection import ProjectedFeedback as ProjectedFeedback
    from neurofa.feedbacks.shared import SharedFeedback as SharedFeedback
    from neurofa.feedbacks.sparse import SparseFeedback as SparseFeedback

__getattr__, __dir__ = shelf(__name__)
