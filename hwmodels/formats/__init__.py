"""Number formats, one a file: each says to which numbers a tensor is rounded.

>>> from hwmodels.formats import Ternary
>>> Ternary(threshold=0.2)
ternary(threshold=0.2)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from hwmodels.formats.pow2 import Pow2 as Pow2
    from hwmodels.formats.raw import Raw as Raw
    from hwmodels.formats.sign import Sign as Sign
    from hwmodels.formats.ternary import Ternary as Ternary
    from hwmodels.formats.uniform import Uniform as Uniform

__getattr__, __dir__ = shelf(__name__)
