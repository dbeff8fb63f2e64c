"""Analog products as compiled kernels.

Converters and noise around an eager product pass over inputs and outputs some twenty times; compiled, they are one
kernel before the product and one behind it. A number between two levels of a converter may fall to either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import Tensor

from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.product import analog_product
from hwmodels.numerics.compiled import compile_whole
from hwmodels.numerics.random import Key

Product = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@functools.cache
def compiled_product(io: Periphery) -> Product:
    """Return :func:`~hwmodels.arrays.product.analog_product` of a periphery, compiled at its first call for each shape.

    Args:
        io: equal peripheries share one kernel.

    Returns:
        Function of x, w and the largest weight as in ``analog_product``, and of a key (None where nothing is noisy).
        Its call raises a NeurofaError where there is no C++ compiler.
    """

    def product(x: Tensor, w: Tensor, unit: Tensor, key: Tensor | None) -> Tensor:
        return analog_product(io, x, w, None if key is None else Key(key), unit=unit)

    return compile_whole(product, f"a product of {io.name}", "a periphery")
