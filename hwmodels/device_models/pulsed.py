"""Pulsed step models: device-to-device variations, cycle-to-cycle noise of steps, and bounds."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_OR_NONE,
    PROBABILITY,
    Condition,
    NeurofaError,
    check_options,
)
from hwmodels.numerics.random import normal, uniform
from hwmodels.provenance import Provenance

SPREADS = ("dw_min_dtod", "dw_min_std", "w_max_dtod", "w_min_dtod", "up_down_dtod", "lifetime_dtod")
NOISES = ("write_noise_std", "corrupt_range", "diffusion")


@dataclass(frozen=True, kw_only=True)
class Pulsed(PulseDriven, Provenance):
    """A weight that changes by steps: w = scale v, v in the device's own units (about +-1).

    Every device draws its constants when it is programmed; xi is standard normal, drawn anew for every use:

    - steps: up = |u + gain + r| dw_min and down = |l + gain - r| dw_min with gain = 1 + dw_min_dtod xi (or
      exp(dw_min_dtod xi)), r = up_down_dtod xi, u = min(up_down, 0), l = -max(up_down, 0);
    - bounds: top = |w_max (1 + w_max_dtod xi)|, bottom = -|w_min (1 + w_min_dtod xi)|.

    A pulse moves v by its step times the response of the model at v, with cycle-to-cycle noise, and v stays within the
    bounds. For n pulses together a model gives the mean (in closed form, or as its docstring says) and the noise of n
    independent steps; clipping happens once, after the n-th. Where the mean would run beyond the whole range, only the
    pulses that cross the range count for the noise: the bound erases the noise of earlier ones. That is near to n
    single pulses where steps and noise hardly change within n pulses; presets say how far off it is where they do.

    With write noise, v is hidden and the visible weight is v + write_noise_std dw_min xi, drawn anew when the device is
    pulsed. Decay, v <- v (1 - 1/lifetime), and diffusion, v <- v + diffusion xi, act once per mini-batch, that is at
    the end of every ``write``. No published constant gives them in seconds, so that the devices do not age.

    Cells, all in device units and shaped as the weights: ``weight`` (v), ``up``, ``down``, ``top``, ``bottom``;
    ``visible`` with write noise, ``leak`` with decay; and 0-dim ``scale`` (weight per device unit).

    Args:
        dw_min: nominal step, > 0, device units.
        dw_min_dtod: device-to-device spread of the step, relative.
        log_normal: draw the gain as exp(dw_min_dtod xi).
        dw_min_std: cycle-to-cycle spread of a step, relative.
        w_max: nominal upper bound, > 0, device units.
        w_min: nominal lower bound, <= 0, device units.
        w_max_dtod: device-to-device spread of the upper bound, relative.
        w_min_dtod: device-to-device spread of the lower bound, relative.
        up_down: asymmetry, in (-1, 1): shrinks the step up when negative, the step down when positive.
        up_down_dtod: device-to-device spread of the asymmetry.
        write_noise_std: noise of the visible weight, in units of dw_min.
        corrupt_prob: share of devices that are stuck, 0 to 1.
        corrupt_range: a stuck device sits anywhere within +- this value, device units.
        lifetime: mini-batches in which v decays by e, >= 1; 0 switches decay off.
        lifetime_dtod: device-to-device spread of the lifetime, relative.
        diffusion: standard deviation per mini-batch, device units.
        scale: weight per device unit, > 0; None gives headroom / sqrt(fan_in), fan_in being the product of all axes
            but the first.
        headroom: a uniform draw with bounds 1/sqrt(fan_in) fills +-1/headroom device units when ``scale`` is None.
    """

    source = "Gokmen and Vlasov 2016, Front. Neurosci. 10:333 (device variations); Rasch et al. 2021, arXiv 2104.02184"

    dw_min: float = 0.001
    dw_min_dtod: float = 0.3
    log_normal: bool = False
    dw_min_std: float = 0.3
    w_max: float = 0.6
    w_min: float = -0.6
    w_max_dtod: float = 0.3
    w_min_dtod: float = 0.3
    up_down: float = 0.0
    up_down_dtod: float = 0.01
    write_noise_std: float = 0.0
    corrupt_prob: float = 0.0
    corrupt_range: float = 0.1
    lifetime: float = 0.0
    lifetime_dtod: float = 0.0
    diffusion: float = 0.0
    scale: float | None = None
    headroom: float = 3.0

    def __post_init__(self) -> None:
        check_options(self, NOT_NEGATIVE, *SPREADS, *NOISES, remedy="0 switches it off")
        check_options(self, POSITIVE, "dw_min", remedy="take a small one for fine steps")
        check_options(self, POSITIVE, "w_max", remedy="the bounds must include zero")
        lower = Condition(lambda v: -math.inf < v <= 0, "0 or less")
        check_options(self, lower, "w_min", remedy="the bounds must include zero")
        asymmetry = Condition(lambda v: -1 < v < 1, "a number between -1 and 1")
        check_options(self, asymmetry, "up_down", remedy="0 is symmetric")
        check_options(self, PROBABILITY, "corrupt_prob", remedy="0 means that no device is stuck")
        check_options(self, POSITIVE, "headroom", remedy="3 is the default")
        life = Condition(lambda v: v == 0 or 1 <= v < math.inf, "1 or more")
        check_options(self, life, "lifetime", remedy="0 switches decay off")
        check_options(self, POSITIVE_OR_NONE, "scale")
        if self.w_max - self.w_min < self.dw_min:
            raise NeurofaError(
                f"got {self.name}(dw_min={self.dw_min}) for a range of {self.w_max - self.w_min:g}; expected a step"
                " within the range; lower dw_min or widen w_max and w_min"
            )

    @property
    def _label(self) -> str:
        return self.name or type(self).__name__

    def _need(self, key: str, holds: bool, expected: str, remedy: str) -> None:
        if not holds:
            raise NeurofaError(f"got {self._label}({key}={getattr(self, key)}); expected {expected}; {remedy}")

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), bounds=(self.w_min, self.w_max))

    @abstractmethod
    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the next n pulses together.

        Args:
            v: present states, device units.
            n: number of pulses, whole numbers >= 1.
            step: each device's own step in the wanted direction, signed, device units.
            rise: 1 where the pulses go up, 0 where they go down.
            cells: each device's further constants.

        Returns:
            The mean signed step (E[v after n pulses] - v) / n, device units, exact for n = 1; and the variance of v
            after n pulses in units of dw_min_std^2, device units squared, a new tensor.
        """

    def draw_devices(self, target: Tensor, gen: torch.Generator | None) -> Cells:
        """Draw the constants of every device, shaped as ``target``; subclasses add further ones."""
        # the order of the draws decides which devices a seed gives
        gain = normal(target, gen).mul_(self.dw_min_dtod)
        gain = gain.exp_() if self.log_normal else gain.add_(1)
        r = normal(target, gen).mul_(self.up_down_dtod)
        up = (gain + r).add_(min(self.up_down, 0.0)).abs_().mul_(self.dw_min)
        down = (gain - r).sub_(max(self.up_down, 0.0)).abs_().mul_(self.dw_min)
        top = normal(target, gen).mul_(self.w_max_dtod).add_(1).mul_(self.w_max).abs_()
        bottom = normal(target, gen).mul_(self.w_min_dtod).add_(1).mul_(self.w_min).abs_().neg_()
        if self.corrupt_prob:
            dead = uniform(target, gen) < self.corrupt_prob
            stuck = uniform(target, gen).mul_(2).sub_(1).mul_(self.corrupt_range)
            top, bottom = torch.where(dead, stuck, top), torch.where(dead, stuck, bottom)
            up, down = up.masked_fill_(dead, 0.0), down.masked_fill_(dead, 0.0)
        full = self.scale if self.scale is not None else self.headroom / math.sqrt(math.prod(target.shape[1:]))
        cells = {"up": up, "down": down, "top": top, "bottom": bottom, "scale": target.new_full((), full)}
        if self.lifetime:
            life = normal(target, gen).mul_(self.lifetime_dtod).add_(1).mul_(self.lifetime).clamp_(min=1)
            cells["leak"] = life.reciprocal_()
        return cells

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify new weights on the same devices: v = target / scale within the bounds, then write noise."""
        v = self.hidden_state(target / cells["scale"], cells).clamp(cells["bottom"], cells["top"])
        after = {**cells, "weight": v}
        if self.write_noise_std:
            after["visible"] = self._visible(v, gen)
        return after

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Draw new devices and write-verify the target on them.

        Args:
            target: the wanted weights, any shape, dimensionless.
            gen: source of the device-to-device draws.

        Returns:
            The cells; targets beyond a device's bounds are clipped.

        Raises:
            NeurofaError: no generator.
        """
        return self.reprogram(self.draw_devices(target, gen), target, gen)

    def hidden_state(self, v: Tensor, cells: Cells) -> Tensor:
        """Return the internal state with which a device shows the weight v, both in device units; default: v itself."""
        return v

    def shown_state(self, state: Tensor, cells: Cells) -> Tensor:
        """Return the weight that a device shows in an internal state, device units: inverse of :meth:`hidden_state`."""
        return state

    def value(self, cells: Cells) -> Tensor:
        """Return the weights scale v, as visible from outside."""
        return self.shown_state(cells["visible"] if self.write_noise_std else cells["weight"], cells) * cells["scale"]

    @property
    def nominal_step(self) -> float:
        """The step that a requested change is divided by, device units: a step at weight 0; default: dw_min."""
        return self.dw_min

    def granularity(self, cells: Cells) -> Tensor:
        """Return the nominal step in the unit of the weights."""
        return cells["scale"] * self.nominal_step

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Move v by ``count`` steps of the model, with their noise, within the bounds."""
        v = cells["weight"]
        touched = count.clamp(max=1)  # 0 or 1: interpolating with a float is faster on a CPU than picking by a mask
        step = torch.lerp(cells["down"].neg(), cells["up"], rise)
        mean, variance = self.pulse_moments(v, count.clamp(min=1), step, rise, cells)
        moved = mean * count
        if self.dw_min_std or spread is not None:
            variance.mul_(touched).mul_(self.dw_min_std**2)
            if spread is not None:  # the count varies as well: each pulse more or less is a mean step
                variance.addcmul_(mean.square(), spread)
            # of a run beyond the whole range only the pulses that cross it count
            variance.mul_(moved.abs().reciprocal_().mul_(self.w_max - self.w_min).clamp_(max=1))
            moved = normal(v, gen).mul_(variance.sqrt_()).add_(moved)
        v = moved.add_(v).clamp_(cells["bottom"], cells["top"])
        after = {**cells, "weight": v}
        if self.write_noise_std:
            after["visible"] = torch.lerp(cells["visible"], self._visible(v, gen), touched)
        return after

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        """Apply decay and diffusion of one mini-batch."""
        if not (self.lifetime or self.diffusion):
            return cells
        v = before = cells["weight"]
        if self.lifetime:
            v = torch.addcmul(v, v, cells["leak"], value=-1)
        if self.diffusion:
            v = normal(v, gen).mul_(self.diffusion).add_(v)
        v = v.clamp(cells["bottom"], cells["top"])
        after = {**cells, "weight": v}
        if self.write_noise_std:
            after["visible"] = cells["visible"] + (v - before)
        return after

    def _visible(self, v: Tensor, gen: torch.Generator | None) -> Tensor:
        return normal(v, gen).mul_(self.write_noise_std * self.dw_min).add_(v)
