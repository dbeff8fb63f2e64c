"""Experiments, one a file: each asks a question, mostly of a paper, with runs, a table and checks.

>>> from experiments.papers import Faults
>>> Faults(hidden=100)
faults(hidden=100)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from experiments.papers.adaptive_devices import AdaptiveDevices as AdaptiveDevices
    from experiments.papers.align_conv import AlignConv as AlignConv
    from experiments.papers.align_deep_linear import AlignDeepLinear as AlignDeepLinear
    from experiments.papers.align_degeneracy import AlignDegeneracy as AlignDegeneracy
    from experiments.papers.align_degeneracy_deep import AlignDegeneracyDeep as AlignDegeneracyDeep
    from experiments.papers.align_label_noise import AlignLabelNoise as AlignLabelNoise
    from experiments.papers.align_sequential import AlignSequential as AlignSequential
    from experiments.papers.align_shallow import AlignShallow as AlignShallow
    from experiments.papers.align_structure import AlignStructure as AlignStructure
    from experiments.papers.bpfree_table import BackpropagationFreeTable as BackpropagationFreeTable
    from experiments.papers.default_settings import DefaultSettings as DefaultSettings
    from experiments.papers.devices import Devices as Devices
    from experiments.papers.dfa_transformer import DFATransformer as DFATransformer
    from experiments.papers.faults import Faults as Faults
    from experiments.papers.fixed_feedback import FixedFeedback as FixedFeedback
    from experiments.papers.grape_ablation import GrAPEAblation as GrAPEAblation
    from experiments.papers.grape_alignment import GrAPEAlignment as GrAPEAlignment
    from experiments.papers.grape_toy import GrAPEToy as GrAPEToy
    from experiments.papers.ldfa_classes_vs_rank import ClassesAgainstRank as ClassesAgainstRank
    from experiments.papers.ldfa_fc_cifar10 import LowDimensionalErrorFC as LowDimensionalErrorFC
    from experiments.papers.ldfa_flops import LDFAFlops as LDFAFlops
    from experiments.papers.ldfa_linear import LDFALinear as LDFALinear
    from experiments.papers.ldfa_q_vs_qp import QAgainstQP as QAgainstQP
    from experiments.papers.ldfa_receptive_fields import ReceptiveFields as ReceptiveFields
    from experiments.papers.ldfa_vit import LowDimensionalErrorViT as LowDimensionalErrorViT
    from experiments.papers.photonic_dfa import PhotonicDFA as PhotonicDFA
    from experiments.papers.spiking_chips import SpikingChips as SpikingChips
    from experiments.papers.spiking_rules import SpikingRules as SpikingRules

__getattr__, __dir__ = shelf(__name__)
