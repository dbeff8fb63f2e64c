"""Network recipes, one or several relatives a file: typed descriptions that :meth:`build` turns into networks.

>>> from neurofa.networks import MLP
>>> recipe = MLP(hidden=[800, 800])
>>> recipe
mlp(hidden=[800, 800])
>>> recipe.build(input_shape=(1, 28, 28), outputs=10, seed=0).outputs
10
"""

from typing import TYPE_CHECKING

from hwmodels.registry import shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from neurofa.networks.cnn import CNN as CNN
    from neurofa.networks.conv_stack import ConvStack as ConvStack
    from neurofa.networks.mlp import MLP as MLP
    from neurofa.networks.module import module as module
    from neurofa.networks.nir import NIR as NIR
    from neurofa.networks.recurrent import GRUNetwork as GRUNetwork
    from neurofa.networks.recurrent import LSTMNetwork as LSTMNetwork
    from neurofa.networks.recurrent import RateNetwork as RateNetwork
    from neurofa.networks.resnet20 import ResNet20 as ResNet20
    from neurofa.networks.retina import Retina as Retina
    from neurofa.networks.snn import SNN as SNN
    from neurofa.networks.snn import ConvSNN as ConvSNN
    from neurofa.networks.transformers import GPT as GPT
    from neurofa.networks.transformers import ViT as ViT
    from neurofa.networks.vgg import VGG as VGG

__getattr__, __dir__ = shelf(__name__)
