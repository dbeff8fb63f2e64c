"""Declared exceptions from the contracts of parts, with their reasons."""

from __future__ import annotations

CONTROL = "a control without a feedback pathway: nothing is encoded"
ELEMENTWISE = "replaces the derivative of one elementwise activation; a block has none"
POOLED = "its subspace learns from statistics of the whole batch"
ONE_ANSWER = "adds the error of one answer to the input; ids of tokens cannot change a little"
NOISE = "draws anew in every pass, so that two passes are not one"
PHYSICAL = "noise and converters stand before its linear map, which the contract of projections tests"
FILE = "made of a file, which has its own sizes and weights"
MEMORY = "a plain module has no state from tick to tick"
PROJECTION = "one projection for all layers, not a matrix per layer"
TARGETS = "learns from the target, not from the error"
SUBSPACE = "beside the readout the subspace follows the targets"
WEIGHTS = "its factors follow the weights, whatever the error"


NETWORK_CHECKS = (
    "serves_samples",
    "typed_recipe_is_the_spec",
    "seed_decides",
    "module_is_the_same_map",
    "copies_are_equal",
    "files_keep_every_bit",
    "bp_equals_autograd",
)


def _exceptions(kind: str, check: str, reason: str, *names: str) -> dict[tuple[str, str, str], str]:
    return {(kind, name, check): reason for name in names}


EXCEPTIONS: dict[tuple[str, str, str], str] = {
    **_exceptions("rule", "learns_on_vit", ELEMENTWISE, "adfa"),
    **_exceptions("rule", "is_as_declared_on_vit", ELEMENTWISE, "adfa"),
    **_exceptions("rule", "declares_its_products_on_vit", ELEMENTWISE, "adfa"),
    **_exceptions("rule", "learns_on_gpt", ELEMENTWISE, "adfa"),
    **_exceptions("rule", "is_as_declared_on_gpt", ELEMENTWISE, "adfa"),
    **_exceptions("rule", "declares_its_products_on_gpt", ELEMENTWISE, "adfa"),
    **_exceptions("rule", "learns_on_gpt", ONE_ANSWER, "pepita"),
    **_exceptions("rule", "is_as_declared_on_gpt", ONE_ANSWER, "pepita"),
    **_exceptions("rule", "declares_its_products_on_gpt", ONE_ANSWER, "pepita"),
    **_exceptions("rule", "takes_every_error_format", CONTROL, "bp", "bptt", "eprop_symmetric", "ostl", "readout_only"),
    **_exceptions("rule", "zero_error_gives_no_update", TARGETS, "drtp", "etlp"),
    **_exceptions("rule", "zero_error_gives_no_update", SUBSPACE, "raf"),
    **_exceptions("rule", "zero_error_gives_no_update", WEIGHTS, "ldfa_normative"),
    **_exceptions("rule", "is_as_declared_in_sequences", "compares two passes, and refuses sequences", "pepita"),
    **_exceptions("rule", "accumulation_equals_one_batch", POOLED, "raf", "draf"),
    **_exceptions("rule", "accumulation_equals_one_batch", NOISE, "brsf", "weight_mirror", "fdfa", "grape2025"),
    **_exceptions("rule", "accumulation_equals_one_batch", NOISE, "grape2026", "forward_gradient", "local_loss"),
    **_exceptions("layer", "module_is_the_same_map", MEMORY, "spiking", "spiking_conv", "gru", "lstm"),
    **_exceptions("network", "module_is_the_same_map", MEMORY, "snn", "conv_snn", "rnn", "gru", "lstm"),
    **{key: FILE for check in NETWORK_CHECKS for key in _exceptions("network", check, FILE, "nir")},
    **_exceptions("feedback", "slices_fit", "one row a channel, which all its positions receive", "pooled"),
    **_exceptions("feedback", "serves_chained_rules", PROJECTION, "shared", "crossbar", "matrix_free"),
    **_exceptions("feedback", "serves_chained_rules", PROJECTION, "microring", "mzi", "opu"),
    **_exceptions("feedback", "is_linear", PHYSICAL, "crossbar", "microring", "opu"),
    **_exceptions("feedback", "gain_is_as_declared", PHYSICAL, "crossbar", "microring", "opu"),
}
"""(kind, part, check) and the reason why the part need not hold it; third parties may add their own."""
