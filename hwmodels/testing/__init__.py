"""Contract checks for memory devices, number formats and projections, those of third parties included.

Each check takes a part (a spec in the case of projections, which have state) and raises ``AssertionError`` with one
line. Parametrise over :func:`device_checks`, :func:`format_checks` and :func:`projection_checks` to run them one by
one, or call :func:`check_device`, :func:`check_format` and :func:`check_projection` to run them all.

>>> from hwmodels import build
>>> check_device(build("device", "fixed(bits=4)"))
>>> check_format(build("format", "ternary"))
"""

from hwmodels.testing.devices import check_device, device_checks
from hwmodels.testing.formats import check_format, format_checks
from hwmodels.testing.projections import check_projection, projection_checks

__all__ = [
    "check_device",
    "check_format",
    "check_projection",
    "device_checks",
    "format_checks",
    "projection_checks",
]
