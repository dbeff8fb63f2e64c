"""Text as ids of tokens: bytes, characters or words, cut into windows of which each token predicts the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from experiments.data._bpe import learn_pairs, pair_ids
from experiments.data.base import Dataset
from experiments.data.split import Split
from hwmodels.errors import NeurofaError

TOKENS = ("bytes", "bpe", "chars", "words")
PAIRS = 1024
"""Number of tokens of ``bpe`` where none is given."""
BYTES = 256
UNKNOWN, LINE_END = "<unk>", "<eos>"
"""Words of the field: of a token that is not in the vocabulary, and of the end of a line."""
WHERE = ("train", "validation", "test")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens of a text, and their ids.

    Args:
        tokens: ``bytes``, ``bpe``, ``chars`` or ``words``.
        known: the tokens in the order of their ids; those of ``bpe`` have a character for each byte.
    """

    tokens: str
    known: tuple[str, ...]

    @classmethod
    def of(cls, text: str, tokens: str, size: int | None = None) -> Vocabulary:
        """Return the vocabulary of a training text.

        Args:
            text: the training text.
            tokens: ``bytes`` (all 256), ``bpe`` (joined bytes, :mod:`experiments.data._bpe`), ``chars`` or ``words``;
                words are what spaces separate, and ``<eos>`` at the end of a line.
            size: number of tokens to keep, the most frequent ones; all others become ``<unk>``. None: all; of ``bpe``
                :data:`PAIRS`.

        Raises:
            NeurofaError: an unknown kind of tokens, a size below 2 (of ``bpe``: below 256), or one for bytes.
        """
        if tokens not in TOKENS:
            raise NeurofaError(f"got tokens={tokens}; expected {', '.join(TOKENS)}; choose one")
        if size is not None and size < 2:
            raise NeurofaError(f"got vocabulary={size}; expected at least 2 tokens; raise it")
        if tokens == "bytes":
            if size is not None:
                raise NeurofaError(f"got vocabulary={size} for tokens=bytes; expected all 256 bytes; leave it out")
            return cls(tokens, tuple(map(str, range(256))))
        if tokens == "bpe":
            if size is not None and size < BYTES:
                raise NeurofaError(f"got vocabulary={size} for tokens=bpe; expected at least the 256 bytes; raise it")
            return cls(tokens, tuple(token.decode("latin-1") for token in learn_pairs(text, size or PAIRS)))
        counts = Counter(_pieces(text, tokens))
        counts.pop(UNKNOWN, None)
        kept = [token for token, _ in counts.most_common(None if size is None else size - 1)]
        return cls(tokens, (UNKNOWN, *sorted(kept)))

    def ids(self, text: str) -> torch.Tensor:
        """Return a text as (L,) int64 ids; a token that is not known gets the id of ``<unk>``."""
        if self.tokens == "bytes":
            return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()
        index = {token: i for i, token in enumerate(self.known)}
        if self.tokens == "bpe":
            found = pair_ids(text, {token.encode("latin-1"): i for token, i in index.items()})
            return torch.tensor(found, dtype=torch.int64)
        return torch.tensor([index.get(token, 0) for token in _pieces(text, self.tokens)], dtype=torch.int64)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids: the inverse of :meth:`ids` for known tokens, spaces between words."""
        if self.tokens == "bytes":
            return bytes(ids).decode(errors="replace")
        pieces = [self.known[i] for i in ids]
        if self.tokens == "bpe":
            return "".join(pieces).encode("latin-1").decode(errors="replace")
        return "".join(pieces) if self.tokens == "chars" else " ".join(pieces).replace(f" {LINE_END}", "\n")


def text_dataset(
    name: str,
    pieces: tuple[str, str, str],
    *,
    tokens: str,
    context: int,
    vocabulary: int | None,
    provenance: Mapping[str, str],
) -> Dataset:
    """Return a data set of windows that do not overlap; the target of a token is the token after it.

    Args:
        name: of the data set.
        pieces: text for training, validation and test.
        tokens: ``bytes``, ``bpe``, ``chars`` or ``words``.
        context: S, tokens of a window.
        vocabulary: number of tokens to keep; None: all of the training text.
        provenance: origin of the text.

    Raises:
        NeurofaError: an option out of range, or a piece with less than one window (validation may be empty).
    """
    if context < 1:
        raise NeurofaError(f"got {name}(context={context}); expected at least 1 token; raise context")
    known = Vocabulary.of(pieces[0], tokens, vocabulary)
    splits = []
    for where, piece in zip(WHERE, pieces, strict=True):
        ids = known.ids(piece)
        windows = max(0, (len(ids) - 1) // context)
        if not windows and (piece or where != "validation"):
            raise NeurofaError(
                f"got {len(ids)} tokens of {where} text in data '{name}'; expected at least {context + 1}, a window and"
                " the next token; lower context or give more text"
            )
        x, y = (ids[start : start + windows * context].view(windows, context) for start in (0, 1))
        splits.append(Split(x, y))
    train, validation, test = splits
    unknown = float((test.y == 0).double().mean()) if tokens in ("chars", "words") else 0.0
    about = {"tokens": tokens, "vocabulary": str(len(known.known)), "unknown tokens of the test": f"{unknown:.4f}"}
    if tokens == "bpe":
        about["bytes a token of the test"] = f"{len(pieces[2].encode()) / len(known.ids(pieces[2])):.3f}"
    return Dataset.of(name, (train, validation, test), classes=len(known.known), provenance={**provenance, **about})


def split_text(name: str, text: str, *, validation: float, test: float) -> tuple[str, str, str]:
    """Cut one text into consecutive pieces for training, validation and test.

    Args:
        name: of the data set, for messages.
        text: the whole text.
        validation: share of its characters for validation, from 0.
        test: share of its characters for the test, the end of the text.

    Raises:
        NeurofaError: shares that leave no text for training, or none for the test.
    """
    if not 0 <= validation < 1 or not 0 < test < 1 or validation + test >= 1:
        raise NeurofaError(
            f"got {name}(validation={validation}, test={test}); expected shares from 0 (test: above 0) that leave text"
            " to train on; lower them"
        )
    end = len(text) - round(test * len(text))
    middle = end - round(validation * len(text))
    return text[:middle], text[middle:end], text[end:]


def decoded(blob: bytes, name: str) -> str:
    """Return the text of a UTF-8 file.

    Args:
        blob: content of the file.
        name: of the file, for messages.

    Raises:
        NeurofaError: the file is empty or not UTF-8.
    """
    try:
        text = blob.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NeurofaError(
            f"got {name} with byte 0x{blob[error.start]:02x} at {error.start}; expected a text in UTF-8; convert it, as"
            " with iconv -t UTF-8"
        ) from None
    if not text.strip():
        raise NeurofaError(f"got {name} without text; expected some; name another file")
    return text


def _pieces(text: str, tokens: str) -> list[str]:
    return list(text) if tokens == "chars" else text.replace("\n", f" {LINE_END} ").split()
