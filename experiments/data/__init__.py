"""Data sets: embedded, synthetic, and the standard files of MNIST, Fashion-MNIST, CIFAR and others, read in place.

``build("data", "mnist(validation=5000)")``, or ``mnist(validation=5000)``, returns a :class:`Dataset`;
``build("data", "encoded(data=digits)")`` the :class:`Sequences` of spiking networks. Files are searched in the folder
that the environment variable ``NEUROFA_DATA`` names, then in the user's cache folder; what is missing is downloaded.

>>> from experiments.data import digits
>>> digits(validation=100).input_shape
(1, 8, 8)
"""

from typing import TYPE_CHECKING

from experiments.data._recordings import EventSplit, Recordings
from experiments.data.augment import Augment
from experiments.data.base import Dataset
from experiments.data.encoders import Encoder
from experiments.data.sequences import Sequences, require_static
from experiments.data.split import Split, batches
from hwmodels.registry import import_modules, shelf

if TYPE_CHECKING:  # for editors and type checkers; at run time the shelf offers its parts itself
    from experiments.data.arrays import arrays as arrays
    from experiments.data.cifar10 import cifar10 as cifar10
    from experiments.data.cifar100 import cifar100 as cifar100
    from experiments.data.digits import digits as digits
    from experiments.data.dvs_gesture import dvs_gesture as dvs_gesture
    from experiments.data.encoded import encoded as encoded
    from experiments.data.events import events as events
    from experiments.data.evidence import evidence as evidence
    from experiments.data.fashion_mnist import fashion_mnist as fashion_mnist
    from experiments.data.folder import folder as folder
    from experiments.data.mackey_glass import mackey_glass as mackey_glass
    from experiments.data.mnist import mnist as mnist
    from experiments.data.module import module as module
    from experiments.data.nmnist import nmnist as nmnist
    from experiments.data.nmnist_small import nmnist_small as nmnist_small
    from experiments.data.noisy_labels import noisy_labels as noisy_labels
    from experiments.data.shakespeare import shakespeare as shakespeare
    from experiments.data.shd import shd as shd
    from experiments.data.sounds import sounds as sounds
    from experiments.data.spoken_digits import spoken_digits as spoken_digits
    from experiments.data.ssc import ssc as ssc
    from experiments.data.structured import structured as structured
    from experiments.data.table import table as table
    from experiments.data.teacher import teacher as teacher
    from experiments.data.text import text as text
    from experiments.data.wikitext2 import wikitext2 as wikitext2

__all__ = [
    "Augment",
    "Dataset",
    "Encoder",
    "EventSplit",
    "Recordings",
    "Sequences",
    "Split",
    "batches",
    "require_static",
]

# Data sets bear the names of their modules: loading them here binds the names to the data sets, whatever comes first.
import_modules(__name__)
__getattr__, __dir__ = shelf(__name__)
