"""Data sets: embedded, synthetic, and standard files of images, event cameras and speech, read in place.

``build("data", "mnist(validation=5000)")`` returns a :class:`Dataset`, ``build("data", "encoded(data=digits)")`` the
:class:`Sequences` of spiking networks. Files are searched in the folder that the environment variable
``NEUROFA_DATA`` names, then in the user's cache folder, and are downloaded as a last resort.
"""

from experiments.data.augment import Augment
from experiments.data.base import Dataset
from experiments.data.encoders import Encoder
from experiments.data.sequences import Sequences, require_static
from experiments.data.split import Split, batches

__all__ = ["Augment", "Dataset", "Encoder", "Sequences", "Split", "batches", "require_static"]
