"""A full disk, as HDF5 reports it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

_SYSTEM_ERROR = re.compile(r"errno = \d+, error message = '([^']*)'")


@contextmanager
def hdf5_disk_errors() -> Iterator[None]:
    """Turn the ``RuntimeError`` in which h5py wraps an error of the system into an ``OSError``.

    Raises:
        OSError: the place cannot be written.
    """
    try:
        yield
    except RuntimeError as error:
        found = _SYSTEM_ERROR.search(str(error))
        if found is None:
            raise
        raise OSError(found[1]) from None
