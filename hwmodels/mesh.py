"""Meshes of Mach-Zehnder interferometers: the rectangular decomposition of a unitary, and light through the mesh.

One interferometer on modes (m, m+1) is T = i e^(i theta/2) [[e^(i phi) sin, cos], [e^(i phi) cos, -sin]], sine and
cosine of theta/2. A mesh of n modes has n (n-1)/2 of them and one phase shifter at every output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Phases:
    """Settings of K meshes of n modes with M = n (n-1)/2 interferometers each, rad."""

    theta: Tensor
    """(K, M): between the couplers."""
    phi: Tensor
    """(K, M): in front of the upper input."""
    out: Tensor
    """(K, n): at the outputs."""


def _nulling(n: int) -> list[tuple[bool, int, int]]:
    """Elements to null, in order, as (from the left, by rows; else from the right, by columns; row; column)."""
    steps: list[tuple[bool, int, int]] = []
    for i in range(n - 1):
        if i % 2 == 0:
            steps += [(False, n - 1 - j, i - j) for j in range(i + 1)]
        else:
            steps += [(True, n - 1 - i + j, j) for j in range(i + 1)]
    return steps


def order(n: int) -> list[int]:
    """Upper mode m of every interferometer, in the order in which light meets them."""
    steps = _nulling(n)
    return [column for left, _, column in steps if not left] + [row - 1 for left, row, _ in reversed(steps) if left]


def decompose(u: Tensor) -> Phases:
    """Phases of the meshes that realise unitary matrices.

    Elements below the diagonal are nulled along its antidiagonals, in turn by columns (U T^-1) and by rows (T U), until
    a diagonal is left; the left factors are then moved through it, T^-1 D = D' T'.

    Args:
        u: (K, n, n), unitary, real or complex, n >= 2.

    Returns:
        Phases in double precision; theta in [0, pi].

    Source: Clements et al. 2016, Optica 3, 1460, arXiv 1603.08788.
    """
    u = u.to(torch.complex128, copy=True)
    n = u.shape[-1]
    found: list[tuple[Tensor, Tensor]] = []
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
            found.append((theta, phi))
    d = u.diagonal(dim1=1, dim2=2).clone()
    for m, theta, phi in reversed(behind):
        pair = _cell(theta, phi).mH * d[:, None, m : m + 2]
        moved = (pair[:, 0, 0] * pair[:, 0, 1].conj()).angle()
        found.append((theta, moved))
        d[:, m : m + 2] = (pair @ _cell(theta, moved).mH).diagonal(dim1=1, dim2=2)
    return Phases(torch.stack([t for t, _ in found], 1), torch.stack([p for _, p in found], 1), d.angle())


def propagate(phases: Phases, loss: float = 0.0) -> Tensor:
    """Send light through every input of the meshes in turn.

    Args:
        phases: settings.
        loss: of each interferometer, dB of power, on both arms.

    Returns:
        (K, n, n), complex: transmission from input (column) to output (row), double precision.
    """
    k, n = phases.out.shape
    u = torch.eye(n, dtype=torch.complex128, device=phases.out.device).expand(k, n, n).clone()
    cells = _cell(phases.theta.double(), phases.phi.double()) * 10 ** (-loss / 20)
    for cell, m in zip(cells.unbind(1), order(n), strict=True):
        u[:, m : m + 2] = cell @ u[:, m : m + 2]
    return u * torch.exp(1j * phases.out.double()).unsqueeze(-1)


def neighbours(n: int) -> Tensor:
    """The interferometers beside each one on the chip: same column two modes away, next columns one mode away.

    Returns:
        (M, 6), indices; M stands for none.
    """
    ready, place = [0] * n, []
    for m in order(n):
        column = max(ready[m], ready[m + 1])
        ready[m] = ready[m + 1] = column + 1
        place.append((column, m))
    index = {at: i for i, at in enumerate(place)}
    near = ((0, -2), (0, 2), (-1, -1), (-1, 1), (1, -1), (1, 1))
    rows = [[index.get((c + dc, m + dm), len(place)) for dc, dm in near] for c, m in place]
    return torch.tensor(rows, dtype=torch.int64).view(-1, 6)


def with_crosstalk(p: Tensor, beside: Tensor, share: float) -> Tensor:
    """Every heater also warms its neighbours: p_i + share sum of p over the neighbours.

    Args:
        p: (K, M), rad.
        beside: from :func:`neighbours`.
        share: of a phase that reaches a neighbour.
    """
    padded = torch.cat([p, p.new_zeros(len(p), 1)], 1)
    return p + share * padded[:, beside].sum(-1)


def settable(p: Tensor, bits: int | None) -> Tensor:
    """The nearest phases that a voltage of ``bits`` bits can set: p = 2 pi V^2, V in [0, 1] (units of V_2pi).

    Args:
        p: rad, any range; taken modulo 2 pi.
        bits: of the voltage; None sets any phase.
    """
    p = p.remainder(2 * math.pi)
    if bits is None:
        return p
    top = 2**bits - 1
    return (p / (2 * math.pi)).sqrt_().mul_(top).round_().div_(top).square_().mul_(2 * math.pi)


def _cell(theta: Tensor, phi: Tensor) -> Tensor:
    """T of every interferometer, (..., 2, 2), complex."""
    s, c = (theta / 2).sin(), (theta / 2).cos()
    turn = torch.exp(1j * phi)
    upper, lower = torch.stack([turn * s, c + 0j], -1), torch.stack([turn * c, -s + 0j], -1)
    return torch.stack([upper, lower], -2) * (1j * torch.exp(0.5j * theta))[..., None, None]
