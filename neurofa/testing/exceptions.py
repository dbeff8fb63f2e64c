"""Declared exceptions from the contracts of parts, with their reasons."""

from __future__ import annotations

CONTROL = "a control without a feedback pathway: nothing is encoded"
ELEMENTWISE = "replaces the derivative of one elementwise activation; a block has none"
POOLED = "its subspace learns from statistics of the whole batch"
NOISE = "draws anew in every pass, so that two passes are not one"
PHYSICAL = "noise and converters stand before its linear map, which the contract of projections tests"
MEMORY = "a plain module has no state from tick to tick"
PROJECTION = "one projection for all layers, not a matrix per layer"
TARGETS = "learns from the target, not from the error"

EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("rule", "adfa", "learns_on_vit"): ELEMENTWISE,
    ("rule", "adfa", "is_as_declared_on_vit"): ELEMENTWISE,
    ("rule", "adfa", "declares_its_products_on_vit"): ELEMENTWISE,
    **{
        ("rule", name, "takes_every_error_format"): CONTROL
        for name in ("bp", "bptt", "eprop_symmetric", "ostl", "readout_only")
    },
    ("rule", "drtp", "zero_error_gives_no_update"): TARGETS,
    ("rule", "etlp", "zero_error_gives_no_update"): TARGETS,
    ("rule", "pepita", "is_as_declared_in_sequences"): "compares two passes, and refuses sequences",
    ("layer", "spiking", "module_is_the_same_map"): MEMORY,
    ("layer", "spiking_conv", "module_is_the_same_map"): MEMORY,
    ("network", "snn", "module_is_the_same_map"): MEMORY,
    ("network", "conv_snn", "module_is_the_same_map"): MEMORY,
    ("rule", "brsf", "accumulation_equals_one_batch"): NOISE,
    ("rule", "weight_mirror", "accumulation_equals_one_batch"): NOISE,
    ("rule", "raf", "accumulation_equals_one_batch"): POOLED,
    ("rule", "draf", "accumulation_equals_one_batch"): POOLED,
    ("rule", "raf", "zero_error_gives_no_update"): "beside the readout the subspace follows the targets",
    ("rule", "ldfa_normative", "zero_error_gives_no_update"): "its factors follow the weights, whatever the error",
    ("feedback", "pooled", "slices_fit"): "one row a channel, which all its positions receive",
    **{
        ("rule", name, "accumulation_equals_one_batch"): NOISE
        for name in ("fdfa", "grape2025", "grape2026", "forward_gradient", "local_loss")
    },
    **{
        ("feedback", name, "serves_chained_rules"): PROJECTION
        for name in ("shared", "crossbar", "matrix_free", "microring", "mzi", "opu")
    },
    **{("feedback", name, "is_linear"): PHYSICAL for name in ("crossbar", "microring", "opu")},
    **{("feedback", name, "gain_is_as_declared"): PHYSICAL for name in ("crossbar", "microring", "opu")},
}
"""(kind, part, check) and the reason why the part need not hold it; third parties may add their own."""
