"""Projections, one a file: hardware that multiplies vectors by a fixed matrix.

>>> from hwmodels.projections import OPU
>>> OPU(gain=0.5, error="sign")
opu(gain=0.5, error=sign)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from hwmodels.projections.crossbar import Crossbar as Crossbar
    from hwmodels.projections.matrix_free import MatrixFree as MatrixFree
    from hwmodels.projections.microring import Microring as Microring
    from hwmodels.projections.mzi import MZI as MZI
    from hwmodels.projections.opu import OPU as OPU

__getattr__, __dir__ = shelf(__name__)
