"""Networks of other simulators, from files in the Neuromorphic Intermediate Representation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.files import file_digest
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recipes import NetworkRecipe
from neurofa.interop.nir import from_nir


@dataclass(frozen=True, kw_only=True)
class NIR(NetworkRecipe, name="nir"):
    """The network of a NIR file, with its weights; see :func:`neurofa.interop.nir.from_nir`.

    A network that is stored names the file by its whole path and its digest: where it is loaded again, the file has to
    be in its place, unchanged.

    Args:
        path: the file.
        dt: length of a tick, s; None: the one that the file states.
        method: ``euler``, or ``exact`` for an input that is constant in a tick.
        surrogate: surrogate derivative of a spike.
        sha256: first digits of the file's SHA-256; empty: any file.
    """

    source = "Pedersen et al. 2024, Nature Communications 15, 8122 (NIR)"
    trains_as = "spiking"

    path: str = ""
    dt: float | None = None
    method: str = "euler"
    surrogate: str = "atan"
    sha256: str = ""

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        return [layer for _, layer in self.assemble(input_shape, outputs, seed, "digital").items()]

    def assemble(self, input_shape: tuple[int, ...], outputs: int, seed: int, device: Device | str) -> Network:
        if not self.path:
            raise NeurofaError(
                "got network nir without a file; expected one; name it: --network \"nir(path='graph.nir', dt=1e-4)\""
            )
        if self.sha256 and not self._digest().startswith(self.sha256):
            raise NeurofaError(
                f"got '{self.path}', which has changed since this network was made of it; expected SHA-256"
                f" {self.sha256[:16]}...; put the file back, or import the new one"
            )
        network = from_nir(
            self.path,
            dt=self.dt,
            method=self.method,
            surrogate=self.surrogate,
            input_shape=input_shape,
            device=device,
            seed=seed,
        )
        if network.outputs != outputs:
            raise NeurofaError(
                f"got data with {outputs} outputs for '{self.path}' with {network.outputs}; expected as many; use the"
                " data for which the graph was made"
            )
        return network

    def build(
        self,
        *,
        input_shape: Sequence[int],
        outputs: int,
        seed: int = 0,
        device: Device | str = "digital",
        periphery: Periphery | str = "exact",
    ) -> Network:
        network = super().build(input_shape=input_shape, outputs=outputs, seed=seed, device=device, periphery=periphery)
        network.spec = str(self.pinned().spec)
        return network

    def pinned(self) -> NIR:
        """Return the recipe with the whole path of the file, and its digest.

        Raises:
            NeurofaError: no such file.
        """
        return replace(self, path=str(Path(self.path).resolve()), sha256=self._digest()[:16])

    def _digest(self) -> str:
        if not Path(self.path).is_file():
            raise NeurofaError(
                f"got '{self.path}', which is no file; expected the NIR file that the network is made of; put it back"
            )
        return file_digest(Path(self.path))
