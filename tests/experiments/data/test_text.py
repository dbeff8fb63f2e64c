"""Text as tokens: vocabularies, windows, splits, and files that are refused."""

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from experiments.data import shakespeare, text, wikitext2
from experiments.data._bpe import learn_pairs, pieces_of
from experiments.data._text import Vocabulary, decoded, split_text
from experiments.data._text_files import git_blob
from experiments.data.text import rhyme
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError


def test_targets_are_the_tokens_that_follow() -> None:
    data = text(context=8)
    for split in data.splits().values():
        assert split.x.shape == split.y.shape == (len(split), 8)
        assert torch.equal(split.x[:, 1:], split.y[:, :-1])
        assert torch.equal(split.x[1:, 0], split.y[:-1, -1])
    assert data.tokens
    assert not data.regression


@pytest.mark.parametrize("tokens", ["bytes", "chars", "words"])
def test_a_text_is_found_again_in_its_ids(tokens: str) -> None:
    words = "the cat\nthe dog\n"
    vocabulary = Vocabulary.of(words, tokens)
    assert vocabulary.text(vocabulary.ids(words).tolist()).split() == words.split()
    if tokens != "words":
        assert vocabulary.text(vocabulary.ids(words).tolist()) == words


def test_bytes_are_those_of_utf8() -> None:
    assert Vocabulary.of("", "bytes").ids("é").tolist() == [0xC3, 0xA9]


def test_byte_pairs_are_learnt_from_the_training_text_and_write_every_text() -> None:
    text = "low low low lower lower newest newest widest\n" * 3
    tokens = learn_pairs(text, 262)
    assert tokens[:256] == [bytes([b]) for b in range(256)]
    # by hand: "lo" and "ow" occur 15 times (the first of equals), "low" 15, " low" 12 times; "es" and "st" 9 times
    assert tokens[256:260] == [b"lo", b"low", b" low", b"es"]
    vocabulary = Vocabulary.of(text, "bpe", 270)
    for line in (text, "lowest 7 é\n\n  ünknown"):
        assert vocabulary.text(vocabulary.ids(line).tolist()) == line
    assert len(vocabulary.ids("low")) == 1
    assert Vocabulary.of(text, "bpe", 270) == vocabulary
    with pytest.raises(NeurofaError, match="vocabulary=100 for tokens=bpe; expected at least the 256 bytes"):
        Vocabulary.of(text, "bpe", 100)


def test_slow_byte_pairs_find_the_same() -> None:
    sample = rhyme()
    words = [([bytes([b]) for b in piece], n) for piece, n in Counter(pieces_of(sample)).items()]
    slow = [bytes([b]) for b in range(256)]
    while len(slow) < 300:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, n in words:
            for pair in itertools.pairwise(word):
                pairs[pair] += n
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        slow.append(best[0] + best[1])
        for word, _ in words:
            index = 0
            while index < len(word) - 1:
                if (word[index], word[index + 1]) == best:
                    word[index : index + 2] = [slow[-1]]
                index += 1
    assert learn_pairs(sample, 300) == slow


def test_text_in_byte_pairs_says_how_long_its_tokens_are() -> None:
    data = text(tokens="bpe", context=8, vocabulary=300)
    assert data.classes == 300
    assert float(data.provenance["bytes a token of the test"]) > 1.2


def test_rare_and_new_words_are_unknown() -> None:
    vocabulary = Vocabulary.of("a a a b b c", "words", size=3)
    assert vocabulary.known == ("<unk>", "a", "b")
    assert vocabulary.ids("a b c d").tolist() == [1, 2, 0, 0]


def test_the_vocabulary_is_that_of_the_training_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("ab" * 40 + "xy" * 10)
    data = text(path=str(tmp_path / "t.txt"), context=4, validation=0.1, test=0.1)
    assert data.classes == 3  # <unk>, a, b
    assert data.test.x.eq(0).all()
    assert data.provenance["unknown tokens of the test"] == "1.0000"


def test_pieces_are_consecutive_and_complete() -> None:
    pieces = split_text("t", "0123456789", validation=0.2, test=0.3)
    assert pieces == ("01234", "56", "789")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "no-such-file.txt"}, "which is no file"),
        ({"tokens": "letters"}, "expected bytes, bpe, chars, words"),
        ({"context": 0}, "at least 1 token"),
        ({"context": 10**6}, "lower context"),
        ({"vocabulary": 1}, "at least 2 tokens"),
        ({"tokens": "bytes", "vocabulary": 10}, "all 256 bytes"),
        ({"validation": 0.6, "test": 0.5}, "lower them"),
        ({"test": 0.0}, "lower them"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(NeurofaError, match=message):
        text(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("blob", "message"), [(b"\xff\xfe\x00", "expected a text in UTF-8"), (b" \n", "without text")])
def test_files_that_are_no_text_are_refused(blob: bytes, message: str) -> None:
    with pytest.raises(NeurofaError, match=message):
        decoded(blob, "t.txt")


def test_git_blob_is_that_of_git() -> None:
    assert git_blob(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # known to every user of git
    assert git_blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_shakespeare(real_data: Path) -> None:
    if not (real_data / "tinyshakespeare/input.txt").is_file():
        pytest.skip("no file of tiny Shakespeare")
    data = shakespeare()
    assert data.classes == 66  # 65 characters and <unk>
    assert data.input_shape == (64,)
    assert sum(map(len, data.splits().values())) == pytest.approx(1115394 / 64, abs=3)


def test_wikitext2(real_data: Path) -> None:
    if not (real_data / "wikitext-2/train.txt").is_file():
        pytest.skip("no files of WikiText-2")
    data = wikitext2(subset=200_000, vocabulary=1000)
    assert data.classes == 1000
    assert len(data.validation) == (213886 + 3760 - 1) // 64  # words and ends of lines, as published
    assert len(data.test) == (241211 + 4358 - 1) // 64


def test_a_run_on_text_reports_its_perplexity(tmp_path: Path) -> None:
    spec = RunSpec(data="text", network="gpt(width=8, depth=1, heads=2)", rule="dfa", epochs=1)
    result = train_run(spec, tmp_path / "run")
    assert result.test_loss is not None
    assert result.perplexity == pytest.approx(math.exp(result.test_loss))
    assert result.to_dict()["test_perplexity"] == result.perplexity
    assert result.test_accuracy is not None
    assert 0 <= result.test_accuracy <= 1


@pytest.mark.parametrize(
    ("data", "network", "message"),
    [
        ("text", "mlp", "ids of tokens for network 'mlp', which takes numbers"),
        ("digits", "gpt", "expected ids of tokens"),
    ],
)
def test_tokens_for_numbers_and_numbers_for_tokens_are_refused(data: str, network: str, message: str) -> None:
    with pytest.raises(NeurofaError, match=message):
        train_run(RunSpec(data=data, network=network, epochs=1))
