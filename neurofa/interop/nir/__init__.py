"""Import of NIR graphs: networks of other simulators as chains of layers."""

from neurofa.interop.nir.convert import from_nir as from_nir
