"""Contract checks for memory devices and number formats, for the project's own parts and for third parties'.

Each check takes a part and raises ``AssertionError`` with one line. Parametrise over :func:`device_checks` and
:func:`format_checks` to run them one by one, or call :func:`check_device` and :func:`check_format` to run them all.

>>> from hwmodels import build
>>> check_device(build("device", "fixed(bits=4)"))
>>> check_format(build("format", "ternary"))
"""

from hwmodels.testing.devices import check_device, device_checks
from hwmodels.testing.formats import check_format, format_checks

__all__ = ["check_device", "check_format", "device_checks", "format_checks"]
