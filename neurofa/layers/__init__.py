"""Layers, one kind per module: each layer of a network learns from one error at its output.

>>> from neurofa.layers import Conv2d, Dense
>>> Dense(8, 3, activation="relu")
dense(n_in=8, n_out=3, activation=relu)
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf finds its parts itself
    from neurofa.layers.block import Block as Block
    from neurofa.layers.carriers import AvgPool2d as AvgPool2d
    from neurofa.layers.carriers import Dropout as Dropout
    from neurofa.layers.carriers import Flatten as Flatten
    from neurofa.layers.carriers import GlobalAvgPool2d as GlobalAvgPool2d
    from neurofa.layers.carriers import MaxPool2d as MaxPool2d
    from neurofa.layers.conv import Conv1d as Conv1d
    from neurofa.layers.conv import Conv2d as Conv2d
    from neurofa.layers.conv import Conv3d as Conv3d
    from neurofa.layers.conv_transpose import ConvTranspose1d as ConvTranspose1d
    from neurofa.layers.conv_transpose import ConvTranspose2d as ConvTranspose2d
    from neurofa.layers.conv_transpose import ConvTranspose3d as ConvTranspose3d
    from neurofa.layers.dense import Dense as Dense
    from neurofa.layers.embedding import Embedding as Embedding
    from neurofa.layers.glu import GLU as GLU
    from neurofa.layers.gru import GRU as GRU
    from neurofa.layers.lstm import LSTM as LSTM
    from neurofa.layers.spiking import Spiking as Spiking
    from neurofa.layers.spiking_conv import SpikingConv2d as SpikingConv2d
    from neurofa.layers.squeeze_excite import SqueezeExcite as SqueezeExcite

__getattr__, __dir__ = shelf(__name__)
