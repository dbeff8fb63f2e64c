"""A million characters of Shakespeare's plays."""

from __future__ import annotations

from experiments.data._text import split_text, text_dataset
from experiments.data._text_files import published_text, raw_address
from experiments.data.base import Dataset
from hwmodels.registry import recipe

FILE = "tinyshakespeare/input.txt"
COMMIT = "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
BLOB = "7dcb3a2d4cc3b48b6283dd46870bfeb78f88aac9"


@recipe("data", "shakespeare", source="Karpathy 2015, char-rnn (tiny Shakespeare, 1,115,394 characters)")
def shakespeare(
    *,
    tokens: str = "chars",
    context: int = 64,
    vocabulary: int | None = None,
    validation: float = 0.05,
    test: float = 0.05,
    subset: int | None = None,
) -> Dataset:
    """Windows of plays by Shakespeare; the target of every token is the token after it.

    Args:
        tokens: ``chars`` (65 of them), ``bytes``, ``bpe`` or ``words``.
        context: S, tokens of a window.
        vocabulary: number of tokens to keep, the most frequent; others are ``<unk>``. None: all in the training text
            (bpe: 1024).
        validation: share of the text for validation, before the test (the source: the last 5 %).
        test: share of the text for the test, its end.
        subset: characters of the training text to keep, from its beginning; None: all.

    Returns:
        Ids of tokens (S,) with targets (S,).
    """
    provenance: dict[str, str] = {}
    address = raw_address("karpathy/char-rnn", COMMIT, f"data/{FILE}")
    content = published_text(FILE, address, {BLOB: "the published file"}, provenance)
    train, *held = split_text("shakespeare", content, validation=validation, test=test)
    return text_dataset(
        "shakespeare",
        (train[:subset], held[0], held[1]),
        tokens=tokens,
        context=context,
        vocabulary=vocabulary,
        provenance=provenance,
    )
