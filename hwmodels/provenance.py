"""Provenance of the constants of a published device."""

from __future__ import annotations

from typing import ClassVar, Literal

Verified = Literal["", "read", "second-hand", "remembered"]
Tier = Literal["", "single device", "array fit", "array measured"]


class Provenance:
    """What a published preset declares of its constants beside their ``source``: what they were fitted to, how sure."""

    fitted_from: ClassVar[str] = ""
    """The measurement that they were fitted to; empty for a model without a measured device."""
    verified: ClassVar[Verified] = ""
    """Whether they were read in ``source``, taken second-hand, or remembered; empty for a model's plain defaults."""
    tier: ClassVar[Tier] = ""
    """What they describe: one good device; the spread of the working devices of an array, without faults; or a whole
    measured array with its broken devices."""
