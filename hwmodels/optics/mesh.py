"""Meshes of Mach-Zehnder interferometers: phases of the rectangular decomposition, and propagation of light.

One interferometer on modes (m, m+1) is T = i e^(i theta/2) [[e^(i phi) sin, cos], [e^(i phi) cos, -sin]], sine and
cosine of theta/2. A mesh of n modes has n (n-1)/2 of them and one phase shifter at every output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MeshPhases:
    """Settings of K meshes of n modes with M = n (n-1)/2 interferometers each, rad."""

    theta: Tensor
    """(K, M): between the couplers."""
    phi: Tensor
    """(K, M): in front of the upper input."""
    out: Tensor
    """(K, n): at the outputs."""


def _nulling(n: int) -> list[tuple[bool, int, int]]:
    """List the elements to null, in order: from the left, by rows (else from the right, by columns), row and column."""
    steps: list[tuple[bool, int, int]] = []
    for i in range(n - 1):
        if i % 2 == 0:
            steps += [(False, n - 1 - j, i - j) for j in range(i + 1)]
        else:
            steps += [(True, n - 1 - i + j, j) for j in range(i + 1)]
    return steps


def mesh_modes(n: int) -> list[int]:
    """Return, for every interferometer of a mesh of n modes, the upper mode m of the two that it couples.

    They come in the order in which light passes them.
    """
    steps = _nulling(n)
    return [column for left, _, column in steps if not left] + [row - 1 for left, row, _ in reversed(steps) if left]


def clements_phases(u: Tensor) -> MeshPhases:
    """Return the phases of the meshes that realise unitary matrices.

    Elements below the diagonal are nulled along its antidiagonals, in turn by columns (U T^-1) and by rows (T U), until
    a diagonal is left; the left factors are then moved through it, T^-1 D = D' T'.

    Args:
        u: (K, n, n), unitary, real or complex, n >= 2.

    Returns:
        Double precision; theta in [0, pi].

    Source: Clements et al. 2016, Optica 3, 1460, arXiv 1603.08788.
    """
    u = u.to(torch.complex128, copy=True)
    n = u.shape[-1]
    settings: list[tuple[Tensor, Tensor]] = []
    behind: list[tuple[int, Tensor, Tensor]] = []
    for left, row, column in _nulling(n):
        if left:
            a, b = u[:, row - 1, column], u[:, row, column]
            theta, phi = 2 * torch.atan2(a.abs(), b.abs()), (b * a.conj()).angle()
            u[:, row - 1 : row + 1] = _cell(theta, phi) @ u[:, row - 1 : row + 1]
            behind.append((row - 1, theta, phi))
        else:
            a, b = u[:, row, column], u[:, row, column + 1]
            theta, phi = 2 * torch.atan2(b.abs(), a.abs()), (-a * b.conj()).angle()
            u[:, :, column : column + 2] = u[:, :, column : column + 2] @ _cell(theta, phi).mH
            settings.append((theta, phi))
    # move the left factors through the diagonal, so that all interferometers stand before the output phases
    d = u.diagonal(dim1=1, dim2=2).clone()
    for m, theta, left_phi in reversed(behind):
        pair = _cell(theta, left_phi).mH * d[:, None, m : m + 2]
        phi = (pair[:, 0, 0] * pair[:, 0, 1].conj()).angle()
        settings.append((theta, phi))
        d[:, m : m + 2] = (pair @ _cell(theta, phi).mH).diagonal(dim1=1, dim2=2)
    theta, phi = (torch.stack(phases, 1) for phases in zip(*settings, strict=True))
    return MeshPhases(theta, phi, d.angle())


def propagate(phases: MeshPhases, loss: float = 0.0, kept: float = 1.0) -> Tensor:
    """Return the transmission of the meshes, by sending light into every input in turn.

    Args:
        phases: settings.
        loss: loss of each interferometer, dB of power, on both arms.
        kept: factor on the amplitude behind every phase shifter; with the mean of e^(i xi) the result is the mean over
            errors xi of the phases.

    Returns:
        (K, n, n), complex: transmission from input (column) to output (row), double precision.
    """
    k, n = phases.out.shape
    u = torch.eye(n, dtype=torch.complex128, device=phases.out.device).expand(k, n, n).clone()
    cells = _cell(phases.theta.double(), phases.phi.double(), kept) * 10 ** (-loss / 20)
    for cell, m in zip(cells.unbind(1), mesh_modes(n), strict=True):
        u[:, m : m + 2] = cell @ u[:, m : m + 2]
    return u * (kept * torch.exp(1j * phases.out.double())).unsqueeze(-1)


def propagate_moments(
    phases: MeshPhases, loss: float, kept: float, moments: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the second moments of light behind meshes whose every phase has a Gaussian error of its own.

    A phase shifter with an error xi on mode m leaves E|x_m|^2, multiplies E x_m x_j (j != m), conjugated or not, by
    kept = E e^(i xi), and E x_m^2 by E e^(2 i xi) = kept^4; couplers and settings act as on a field. A cell is
    H D(theta) H D(phi), H = [[1, i], [i, 1]]/sqrt(2), D the phase of the upper arm.

    Args:
        phases: settings.
        loss: loss of each interferometer, dB of power, on both arms.
        kept: exp(-s^2/2), s the standard deviation of a phase, rad.
        moments: E x x^H and E x x^T at the input, (K, inputs, n, n) each, complex.

    Returns:
        The same at the output.
    """
    n = phases.out.shape[1]
    both = [moment.clone() for moment in moments]
    # half of the loss on each of the two couplers of a cell
    root = math.sqrt(0.5) * 10 ** (-loss / 40)
    coupler = torch.tensor([[root, 1j * root], [1j * root, root]], dtype=both[0].dtype, device=both[0].device)

    def shifter(m: int, phase: Tensor) -> None:
        turn = torch.exp(1j * phase.double()).view(-1, 1, 1)
        for moment, other, own in zip(both, (turn.conj(), turn), (1.0, kept**4), strict=True):
            # the diagonal has a factor of its own, not the product of those of its row and column
            power = moment[..., m, m] * (turn * other).squeeze(-1) * own
            moment[..., m, :] *= kept * turn
            moment[..., :, m] *= kept * other
            moment[..., m, m] = power

    def couple(m: int) -> None:
        pair = slice(m, m + 2)
        for moment, other in zip(both, (coupler.mH, coupler.mT), strict=True):
            moment[..., pair, :] = coupler @ moment[..., pair, :]
            moment[..., :, pair] = moment[..., :, pair] @ other

    for cell, m in enumerate(mesh_modes(n)):
        shifter(m, phases.phi[:, cell])
        couple(m)
        shifter(m, phases.theta[:, cell])
        couple(m)
    for m in range(n):
        shifter(m, phases.out[:, m])
    return both[0], both[1]


def neighbours(n: int) -> Tensor:
    """List the interferometers beside each one on the chip: same column two modes away, next columns one mode away.

    Returns:
        (M, 6), indices; M means none.
    """
    ready, place = [0] * n, []
    for m in mesh_modes(n):
        column = max(ready[m], ready[m + 1])
        ready[m] = ready[m + 1] = column + 1
        place.append((column, m))
    index = {at: i for i, at in enumerate(place)}
    near = ((0, -2), (0, 2), (-1, -1), (-1, 1), (1, -1), (1, 1))
    rows = [[index.get((c + dc, m + dm), len(place)) for dc, dm in near] for c, m in place]
    return torch.tensor(rows, dtype=torch.int64).view(-1, 6)


def with_crosstalk(p: Tensor, beside: Tensor, share: float) -> Tensor:
    """Return phases whose heaters also warm their neighbours: p_i + share sum of p over the neighbours.

    Args:
        p: (K, M), rad.
        beside: indices of the neighbours of each interferometer, from :func:`neighbours`.
        share: share of a heater's phase that reaches each neighbour.
    """
    padded = torch.cat([p, p.new_zeros(len(p), 1)], 1)
    return p + share * padded[:, beside].sum(-1)


def settable_phases(p: Tensor, bits: int | None) -> Tensor:
    """Return the nearest phases that a voltage of ``bits`` bits can set: p = 2 pi V^2, V in [0, 1] (units of V_2pi).

    Args:
        p: rad, any range; taken modulo 2 pi.
        bits: resolution of the voltage; None sets any phase.
    """
    p = p.remainder(2 * math.pi)
    if bits is None:
        return p
    top = 2**bits - 1
    return (p / (2 * math.pi)).sqrt_().mul_(top).round_().div_(top).square_().mul_(2 * math.pi)


def _cell(theta: Tensor, phi: Tensor, kept: float = 1.0) -> Tensor:
    """Return T of every interferometer, (..., 2, 2), complex.

    With t = kept e^(i theta): T = [[(t - 1) p, i (t + 1)], [i (t + 1) p, 1 - t]] / 2, p = kept e^(i phi).
    """
    t, turn = kept * torch.exp(1j * theta), kept * torch.exp(1j * phi)
    bar, cross = (t - 1) / 2, 1j * (t + 1) / 2
    upper, lower = torch.stack([turn * bar, cross], -1), torch.stack([turn * cross, -bar], -1)
    return torch.stack([upper, lower], -2)
