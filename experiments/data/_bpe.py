"""Byte pairs: tokens of bytes that occur together often, learnt from a training text alone.

The 256 bytes are tokens; the most frequent pair of neighbours inside a piece of text becomes the next token, until
there are enough. Pieces are words with the space before them, runs of other signs, and white space, so that no token
joins two words. Ties go to the pair whose bytes come first: equal texts give equal tokens. Every text can be written.

Source: Sennrich, Haddow and Birch 2016, arXiv 1508.07909; on bytes: Radford et al. 2019.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

Pair = tuple[bytes, bytes]
PIECE = re.compile(r" ?\w+| ?[^\w\s]+|\s+")


def pieces_of(text: str) -> Iterator[bytes]:
    """Yield the pieces of a text, within which bytes are joined; together they are the text."""
    return (match.group().encode() for match in PIECE.finditer(text))


def learn_pairs(text: str, size: int) -> list[bytes]:
    """Return the tokens of a training text in the order of their ids: the bytes, then joined ones as they were found.

    Args:
        text: the training text.
        size: number of tokens, from 256; less come back where no pair occurs twice.
    """
    counts = Counter(pieces_of(text))
    words = [[bytes([b]) for b in piece] for piece in counts]
    often = list(counts.values())
    pairs: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in itertools.pairwise(word):
            pairs[pair] += often[index]
            places[pair].add(index)
    tokens = [bytes([b]) for b in range(256)]
    known = set(tokens)
    while len(tokens) < size and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        joined = best[0] + best[1]
        if joined not in known:  # other pairs may join to the same bytes
            known.add(joined)
            tokens.append(joined)
        for index in places.pop(best):
            word = words[index]
            for pair in itertools.pairwise(word):
                pairs[pair] -= often[index]
            words[index] = word = _join(word, best)
            for pair in itertools.pairwise(word):
                pairs[pair] += often[index]
                places[pair].add(index)
        del pairs[best]
    return tokens


def pair_ids(text: str, ids: dict[bytes, int]) -> list[int]:
    """Return a text as ids: in each piece the neighbours whose joined token has the lowest id are joined first.

    Args:
        text: any text.
        ids: id of every token; the bytes are among them.
    """
    found: dict[bytes, list[int]] = {}
    answer: list[int] = []
    for piece in pieces_of(text):
        if piece not in found:
            found[piece] = [ids[token] for token in _tokens(piece, ids)]
        answer += found[piece]
    return answer


def _tokens(piece: bytes, ids: dict[bytes, int]) -> list[bytes]:
    word = [bytes([b]) for b in piece]
    while len(word) > 1:
        known = [pair for pair in itertools.pairwise(word) if pair[0] + pair[1] in ids]
        if not known:
            break
        word = _join(word, min(known, key=lambda pair: ids[pair[0] + pair[1]]))
    return word


def _join(word: list[bytes], pair: Pair) -> list[bytes]:
    """Return a word in which a pair of neighbours is one token, from the left."""
    joined: list[bytes] = []
    index = 0
    while index < len(word):
        here = index + 1 < len(word) and (word[index], word[index + 1]) == pair
        joined.append(pair[0] + pair[1] if here else word[index])
        index += 2 if here else 1
    return joined
