"""Memory devices, one a file: each models the physics of one stored weight.

>>> from hwmodels.devices import Fixed, Stuck
>>> Stuck(device=Fixed(bits=4), low=0.02)
stuck(device=fixed(bits=4), low=0.02)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from hwmodels.devices.constant_step import ConstantStep as ConstantStep
    from hwmodels.devices.constant_step import GokmenVlasov as GokmenVlasov
    from hwmodels.devices.constant_step import Idealized as Idealized
    from hwmodels.devices.digital import Digital as Digital
    from hwmodels.devices.exp_step import ExpStep as ExpStep
    from hwmodels.devices.exp_step import ReRamES as ReRamES
    from hwmodels.devices.fixed import Fixed as Fixed
    from hwmodels.devices.gaussian import Gaussian as Gaussian
    from hwmodels.devices.hermes import Hermes as Hermes
    from hwmodels.devices.linear_step import Capacitor as Capacitor
    from hwmodels.devices.linear_step import EcRam as EcRam
    from hwmodels.devices.linear_step import EcRamMO as EcRamMO
    from hwmodels.devices.linear_step import LinearStep as LinearStep
    from hwmodels.devices.linear_step import SoftBounds as SoftBounds
    from hwmodels.devices.linear_step import soft_bounds_pmax as soft_bounds_pmax
    from hwmodels.devices.mixed_precision import MixedPrecision as MixedPrecision
    from hwmodels.devices.nonlinear_update import NonlinearUpdate as NonlinearUpdate
    from hwmodels.devices.one_sided import OneSided as OneSided
    from hwmodels.devices.one_sided import PcmGst as PcmGst
    from hwmodels.devices.pcm import Pcm as Pcm
    from hwmodels.devices.piecewise_step import PiecewiseStep as PiecewiseStep
    from hwmodels.devices.pow_step import PowStep as PowStep
    from hwmodels.devices.pulse_trains import PulseTrains as PulseTrains
    from hwmodels.devices.reram_cmo import ReRamCmo as ReRamCmo
    from hwmodels.devices.reram_wan import ReRamWan as ReRamWan
    from hwmodels.devices.soft_bounds_reference import ReRamArrayHfO2 as ReRamArrayHfO2
    from hwmodels.devices.soft_bounds_reference import ReRamArrayOM as ReRamArrayOM
    from hwmodels.devices.soft_bounds_reference import ReRamSB as ReRamSB
    from hwmodels.devices.soft_bounds_reference import SoftBoundsReference as SoftBoundsReference
    from hwmodels.devices.state_independent import StateIndependent as StateIndependent
    from hwmodels.devices.stuck import Stuck as Stuck
    from hwmodels.devices.tiki_taka import TikiTaka as TikiTaka
    from hwmodels.devices.tiki_taka import TikiTakaV2 as TikiTakaV2
    from hwmodels.devices.update_engine import UpdateEngine as UpdateEngine
    from hwmodels.devices.wear import worn as worn

__getattr__, __dir__ = shelf(__name__)
