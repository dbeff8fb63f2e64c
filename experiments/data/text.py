"""A text file of one's own, of which each token predicts the next."""

from __future__ import annotations

from pathlib import Path

from experiments.data import _files
from experiments.data._text import decoded, split_text, text_dataset
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe


@recipe("data", "text", source="a file of the user's own")
def text(
    *,
    path: str = "",
    tokens: str = "chars",
    context: int = 32,
    vocabulary: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Windows of a text in UTF-8; the target of every token is the token after it.

    Args:
        path: the file; empty: a rhyme that is part of the package, for a first try.
        tokens: ``bytes``, ``bpe`` (bytes that occur together, learnt from the training text), ``chars`` or
            ``words`` (what spaces separate, and the ends of lines).
        context: S, tokens of a window.
        vocabulary: number of tokens to keep, the most frequent; others are ``<unk>``. None: all in the training text
            (bpe: 1024).
        validation: share of the text for validation, before the test.
        test: share of the text for the test, its end.

    Returns:
        Ids of tokens (S,) with targets (S,).

    Raises:
        NeurofaError: no such file, no UTF-8, or a text that is too short.
    """
    if path and not Path(path).is_file():
        raise NeurofaError(f"got text(path={path}), which is no file; expected a text file in UTF-8; check the path")
    content = decoded(_files.read_file(Path(path)), path) if path else rhyme()
    origin = {path: f"sha256:{_files.sha256(content.encode())}"} if path else {"origin": "a traditional rhyme"}
    pieces = split_text("text", content, validation=validation, test=test)
    return text_dataset("text", pieces, tokens=tokens, context=context, vocabulary=vocabulary, provenance=origin)


_CHAIN = (
    ("malt", "lay in"),
    ("rat", "ate"),
    ("cat", "killed"),
    ("dog", "worried"),
    ("cow with the crumpled horn", "tossed"),
    ("maiden all forlorn", "milked"),
    ("man all tattered and torn", "kissed"),
    ("priest all shaven and shorn", "married"),
    ("cock that crowed in the morn", "waked"),
    ("farmer sowing his corn", "kept"),
    ("horse and the hound and the horn", "belonged to"),
)
"""Who did what to the one before, in the traditional rhyme."""


def rhyme() -> str:
    """Return the traditional rhyme "This is the house that Jack built": every verse repeats the one before."""
    tail, verses = "house that Jack built.", ["This is the house that Jack built."]
    for who, did in _CHAIN:
        tail = f"{who}\nthat {did} the {tail}"
        verses.append(f"This is the {tail}")
    return "\n\n".join(verses) + "\n"
