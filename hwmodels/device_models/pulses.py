"""Updates by pulses: expected counts for a whole batch, or stochastic pulse trains for every sample.

An outer-product update w += lr d x^T needs no digital multiplication on a crossbar: rows and columns send random pulses
and a device steps where two coincide (Gokmen and Vlasov 2016). ``PulseDriven.write`` draws the number of coincidences
per device from its expectation; :func:`play_pulse_trains` sends the trains.

The two differ in three ways. (1) A train of S slots cannot move a device by more than S pulses; a written change is
never cut. (2) Samples whose changes cancel still cost pulses, steps and noise when each is sent, but not when the batch
is summed first. (3) The n-th pulse of a nonlinear device meets the state after n - 1 noisy steps, and a bound cuts
every pulse; the expected count meets the mean state and is cut once.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.device_models.coincidences import SLOTS, step_at_coincidences
from hwmodels.errors import NeurofaError
from hwmodels.numerics.random import uniform


@dataclass(frozen=True, kw_only=True)
class PulseTrain:
    """Translation of numbers into pulse probabilities.

    With S slots, p(x_j) = min(1, b |x_j|) and p(d_i) = min(1, a |d_i|), a b = lr / (dw S), the expected number of
    coincidences is S p(x_j) p(d_i) = lr |x_j d_i| / dw as long as no probability is cut at 1.

    Args:
        slots: length S of a train, at least 1.
        fit_length: shorten the train of a sample to ceil(lr max|x| max|d| / dw) slots.
        balance: give the largest x and the largest d the same probability; where S slots are too few, cut d, not x.
    """

    source = "Gokmen and Vlasov 2016, Front. Neurosci. 10:333; Gokmen, Onen and Haensch 2017, Front. Neurosci. 11:538"

    slots: int = 31
    fit_length: bool = True
    balance: bool = True

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise NeurofaError(f"got PulseTrain(slots={self.slots}); expected 1 or more; 31 is the default")

    def probabilities(self, x: Tensor, d: Tensor, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pulse probabilities of every sample.

        Args:
            x: inputs, (B, n_in).
            d: directions at the outputs, (B, n_out).
            rate: lr / dw, pulses per unit of x d, 0-dim, >= 0.

        Returns:
            p(x) shaped as ``x``, p(d) shaped as ``d``, and the used slots S, (B, 1), whole numbers from 0.
        """
        tiny = torch.finfo(x.dtype).tiny
        top_x = x.abs().amax(1, keepdim=True)
        top_d = d.abs().amax(1, keepdim=True)
        wanted = rate * top_x * top_d
        full = torch.full_like(wanted, self.slots)
        used = torch.minimum(wanted.ceil(), full) if self.fit_length else full * (wanted > 0)
        a = (rate / used.clamp(min=1)).sqrt()  # a b S = rate
        b = a
        if self.balance:
            # equal largest probabilities: b top_x = a top_d, where top_d is what S slots can still send
            top_d = torch.where(wanted > full, top_d * full / wanted.clamp(min=tiny), top_d)
            ratio = (top_x.clamp(min=tiny) / top_d.clamp(min=tiny)).sqrt()
            a, b = a * ratio, b / ratio
        return (b * x.abs()).clamp_(max=1), (a * d.abs()).clamp_(max=1), used


class PulseDriven(Device):
    """A device that changes by identical voltage pulses, up or down."""

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), write="pulse")

    @property
    def train(self) -> PulseTrain | None:
        """How :meth:`write_outer` turns numbers into pulse trains; None: it writes the summed change of the batch."""
        return None

    @abstractmethod
    def granularity(self, cells: Cells) -> Tensor:
        """Return the nominal change of a weight by one pulse: 0-dim, > 0, in the unit of the weights."""

    @abstractmethod
    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Send a number of pulses to every device, and return the cells afterwards.

        A device depends on its own cells alone, so that ``cells`` may be those of some devices of an array.

        Args:
            cells: the present cells.
            count: pulses per device, whole numbers >= 0, shaped as the weights.
            rise: 1 where they go up, 0 where they go down, in the dtype and shape of the weights (a float, because
                picking by a mask is many times slower on a CPU than interpolating with one).
            gen: source of the cycle-to-cycle noise.
            spread: further variance of the count (pulses^2, >= 0), taken as Gaussian; None for none.

        Returns:
            The cells afterwards.
        """

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        """End a mini-batch after its pulses (decay, diffusion, refresh); default: nothing happens."""
        return cells

    def pulse(self, cells: Cells, count: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Send exactly ``count`` pulses.

        Args:
            cells: the present cells.
            count: whole numbers, shaped as the weights; negative ones go down.
            gen: source of the cycle-to-cycle noise.
        """
        return self.advance(cells, count.abs(), count.sign().clamp_(min=0), gen)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Realise a change by the pulses that one stochastic train brings on average, then end the mini-batch.

        With k = |change| / granularity the count is floor(k + U). A train of S = ceil(max k) slots has the variance
        k (1 - k/S), which exceeds that of the rounding where k > 1: the difference enters the noise of the step.

        Args:
            cells: the present cells.
            change: requested addition to the weights, same shape, dimensionless.
            gen: source of counts and noise, on the device of the cells.

        Returns:
            The cells afterwards.

        Raises:
            NeurofaError: no generator.
        """
        k = change / self.granularity(cells)
        rise = k.sign().clamp_(min=0)
        k.abs_()
        count = uniform(k, gen).add_(k).floor_()
        slots = k.amax().ceil().clamp_(min=1) if k.numel() else k.new_ones(())
        whole = k.floor()
        # variance of the train less that of the rounding: k (1 - k/S) - f (1 - f), f the fraction of k
        spread = torch.sub(k, whole).square_().add_(whole).addcdiv_(k.square_(), slots, value=-1).clamp_(min=0)
        return self.settle(self.advance(cells, count, rise, gen, spread), gen)

    def write_outer(
        self, cells: Cells, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None
    ) -> Cells:
        """Send the update as stochastic pulse trains (:func:`play_pulse_trains`) where the device has a ``train``."""
        if self.train is None:
            return super().write_outer(cells, x, d, lr=lr, gen=gen)
        return play_pulse_trains(self, cells, x, d, lr=lr, gen=gen, train=self.train)


def play_pulse_trains(
    device: PulseDriven,
    cells: Cells,
    x: Tensor,
    d: Tensor,
    *,
    lr: float,
    gen: torch.Generator | None,
    train: PulseTrain | None = None,
) -> Cells:
    """Realise w += lr sum_b d_b x_b^T with stochastic pulse trains: sample by sample, one step per coincidence.

    The reference for :meth:`PulseDriven.write`. The slots of all samples are laid end to end and processed 64 at a time
    (:func:`~hwmodels.device_models.coincidences.step_at_coincidences`), so that every device takes its steps one by one
    and in order.

    Args:
        device: its :meth:`~PulseDriven.advance` is called with counts of 1.
        cells: the present cells of an (n_out, n_in) matrix, or of kernels with n_in numbers each.
        x: inputs, (B, n_in).
        d: directions at the outputs, (B, n_out); minus the error for descent.
        lr: learning rate, >= 0.
        gen: source of the pulses and of the noise of the device.
        train: translation of numbers into probabilities; default :class:`PulseTrain`.

    Returns:
        The cells after the batch. E[dw] = lr sum_b d_b x_b^T for a device with constant steps, away from its bounds and
        as long as lr |x d| stays below ``slots`` granularities.

    Raises:
        NeurofaError: a negative learning rate, shapes that do not match, or no generator.

    Source: Gokmen and Vlasov 2016, Front. Neurosci. 10:333, eq. 2 to 4.
    """
    if not 0 <= lr < math.inf:
        raise NeurofaError(f"got lr={lr}; expected 0 or more; turn the sign of d to descend")
    if x.dim() != 2 or d.dim() != 2 or x.shape[0] != d.shape[0]:
        raise NeurofaError(
            f"got x of shape {tuple(x.shape)} and d of shape {tuple(d.shape)}; expected (B, n_in) and (B, n_out);"
            " flatten other axes"
        )
    train = train if train is not None else PulseTrain()
    shape = device.value(cells).shape
    p_x, p_d, used = train.probabilities(x, d, lr / device.granularity(cells))
    signs_x, signs_d = x.sign(), d.sign()
    # every device is an entry of a vector, so that those with coincidences can be picked
    flat = {key: cell.reshape(-1).clone() if cell.shape == shape else cell for key, cell in cells.items()}
    sample = torch.repeat_interleave(used.squeeze(1).to(torch.int64))  # the sample of every slot
    for start in range(0, len(sample), SLOTS):
        b = sample[start : start + SLOTS]
        rows, columns = ((uniform(p[b], gen) < p[b]) * signs[b] for p, signs in ((p_d, signs_d), (p_x, signs_x)))
        step_at_coincidences(device.advance, flat, rows, columns, gen)
    return device.settle({key: cell.view(cells[key].shape) for key, cell in flat.items()}, gen)
