"""neurofa: learning without backpropagation, on simulated analog hardware.

>>> import torch
>>> from neurofa import Learner
>>> from neurofa.networks import MLP
>>> from neurofa.rules import DFA
>>> network = MLP(hidden=[32]).build(input_shape=(8,), outputs=3, seed=0, device="fixed(bits=6)")
>>> learner = Learner(network, DFA(error="ternary"), optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
>>> result = learner.step(torch.zeros(4, 8), torch.tensor([0, 1, 2, 0]))
>>> result.y.shape
torch.Size([4, 3])

Every part has a class on its shelf (:mod:`neurofa.rules`, :mod:`neurofa.networks`, :mod:`hwmodels.devices`, ...) and a
spec, which is its ``repr`` and what :func:`build` and the command ``neurofa`` read.

>>> learner.rule
dfa(error=ternary)
>>> build("rule", "dfa(error=ternary)")
dfa(error=ternary)
"""

from hwmodels.errors import NeurofaError
from hwmodels.registry import build, parts
from neurofa import feedbacks, layers, networks, neurons, rules
from neurofa.core.capabilities import Teaching
from neurofa.core.directions import Outer
from neurofa.core.events import Events
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.plan import Plan, Site
from neurofa.core.rule import Chained, Direct, Rule
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView
from neurofa.interop.module import from_module
from neurofa.interop.nir import from_nir
from neurofa.interop.sequential import from_sequential
from neurofa.interop.snntorch import from_snntorch, to_snntorch
from neurofa.layers.block import Block
from neurofa.layers.carriers import AvgPool2d, Dropout, Flatten, GlobalAvgPool2d, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.maps.autograd_layer import AutogradLayer
from neurofa.training.checkpoint import load_network, save_network
from neurofa.training.learner import Learner
from neurofa.training.loop.callback import Callback
from neurofa.training.loop.checkpoints import Checkpoint
from neurofa.training.loop.early_stop import EarlyStop
from neurofa.training.loop.history import History
from neurofa.training.loop.logs import CSVLog, TensorBoardLog, WandbLog
from neurofa.training.loop.rate_schedule import RateSchedule
from neurofa.training.step_types import StepResult

__version__ = "0.1.0"

__all__ = [
    "AutogradLayer",
    "AvgPool2d",
    "Block",
    "CSVLog",
    "Callback",
    "Chained",
    "Checkpoint",
    "Conv2d",
    "Dense",
    "Direct",
    "Dropout",
    "EarlyStop",
    "Events",
    "Feedback",
    "Flatten",
    "GlobalAvgPool2d",
    "History",
    "Layer",
    "Learner",
    "LocalView",
    "Loss",
    "MaxPool2d",
    "Network",
    "NeurofaError",
    "Outer",
    "Plan",
    "RateSchedule",
    "Rule",
    "Site",
    "Spiking",
    "SpikingConv2d",
    "StepResult",
    "Synapses",
    "Teaching",
    "TensorBoardLog",
    "WandbLog",
    "build",
    "feedbacks",
    "from_module",
    "from_nir",
    "from_sequential",
    "from_snntorch",
    "layers",
    "load_network",
    "networks",
    "neurons",
    "parts",
    "rules",
    "save_network",
    "to_snntorch",
]
