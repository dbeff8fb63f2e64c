"""Neuron models of spiking layers, one a file.

>>> from neurofa.neurons import LIF
>>> LIF(beta=0.95, surrogate="triangular")
lif(beta=0.95, surrogate=triangular)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from neurofa.neurons.alif import ALIF as ALIF
    from neurofa.neurons.lif import LIF as LIF
    from neurofa.neurons.lif import LeakyIntegrator as LeakyIntegrator
    from neurofa.neurons.rate import RateNeuron as RateNeuron
    from neurofa.neurons.synaptic import Synaptic as Synaptic

__getattr__, __dir__ = shelf(__name__)
