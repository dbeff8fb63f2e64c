"""WikiText-2: two million words of good Wikipedia articles."""

from __future__ import annotations

from experiments.data._text import text_dataset
from experiments.data._text_files import published_text, raw_address
from experiments.data.base import Dataset
from hwmodels.registry import recipe

COMMIT = "77f55b912142e11fcfdf5b530231fb9c52f181e8"
KNOWN = {
    "train": {
        "2d84b35af79e411d73ea7cae83c73964c6ac83b4": "the published file",
        "29208aee343c889c0dfb1559134da76b2d83a587": "the published articles in another order",
    },
    "valid": {"eec944eb2d9e46061cd34a6913528797db6842fc": "the published file"},
    "test": {"6f3fc88e4cd88456ea892971f9f12243e8428624": "the published file"},
}
"""Files by their identifier in git, at the address of pytorch/examples."""


@recipe("data", "wikitext2", source="Merity et al. 2016, arXiv 1609.07843")
def wikitext2(
    *,
    tokens: str = "words",
    context: int = 64,
    vocabulary: int | None = None,
    subset: int | None = None,
    held: int | None = None,
) -> Dataset:
    """Windows of Wikipedia articles; the target of every token is the token after it.

    Train, validation and test are the published ones. Words are those of the files, in which rare ones are already
    ``<unk>``, with ``<eos>`` at the ends of lines.

    Args:
        tokens: ``words``, ``bpe``, ``bytes`` or ``chars``.
        context: S, tokens of a window.
        vocabulary: number of tokens to keep, the most frequent; others become ``<unk>``. None: all of the training part
            (33,278 words).
        subset: characters of the training text to keep, from its beginning; None: all.
        held: characters of validation and test text to keep, each from its beginning; None: all, the published test.

    Returns:
        Ids of tokens (S,) with targets (S,).
    """
    provenance: dict[str, str] = {}
    pieces = []
    for where, known in KNOWN.items():
        path = f"wikitext-2/{where}.txt"
        address = raw_address("pytorch/examples", COMMIT, f"word_language_model/data/{path}")
        pieces.append(published_text(path, address, known, provenance))
    train, validation, test = pieces
    return text_dataset(
        "wikitext2",
        (train[:subset], validation[:held], test[:held]),
        tokens=tokens,
        context=context,
        vocabulary=vocabulary,
        provenance=provenance,
    )
