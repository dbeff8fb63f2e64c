"""Chip profiles, one chip a file: each lists the limits that a chip sets, with their sources.

>>> from hwmodels.profiles import ODIN
>>> ODIN().weight_bits
4
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from hwmodels.profiles.brainscales2 import BrainScaleS2 as BrainScaleS2
    from hwmodels.profiles.loihi1 import Loihi1 as Loihi1
    from hwmodels.profiles.microring_bank import MicroringBank as MicroringBank
    from hwmodels.profiles.odin import ODIN as ODIN
    from hwmodels.profiles.opu import OPUProfile as OPUProfile
    from hwmodels.profiles.reckon import ReckOn as ReckOn
    from hwmodels.profiles.rpu import RPU as RPU
    from hwmodels.profiles.spinnaker2 import SpiNNaker2 as SpiNNaker2

__getattr__, __dir__ = shelf(__name__)
