"""Words and word pieces as numbers."""

import sys
import threading

import pytest

from equimodal.data.reading.originals import Damaged
from equimodal.data.tokens import PADDING, UNKNOWN, WordPieces, joined, word_ids, word_vocabulary, words
from equimodal.errors import InputError, MissingDependency

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "spy", "##ing", "falls", "in", "love", ",", "."]


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tokenizers():
    return pytest.importorskip("tokenizers", reason="tokenizers is not installed")


# --- whole words ---


def test_words_are_ordered_by_frequency_then_alphabet_behind_the_two_special_entries():
    texts = ["red dress", "Red shirt", "blue shirt RED", "zebra", "apple"]
    assert word_vocabulary(texts, 100) == [PADDING, UNKNOWN, "red", "shirt", "apple", "blue", "dress", "zebra"]
    assert word_vocabulary(reversed(texts), 100) == word_vocabulary(texts, 100)


def test_size_counts_every_entry_and_rare_words_are_left_out():
    texts = ["b b b a a c"]
    assert word_vocabulary(texts, 3) == [PADDING, UNKNOWN, "b"]
    assert word_vocabulary(texts, 100, least=2) == [PADDING, UNKNOWN, "b", "a"]


@pytest.mark.parametrize(("size", "least", "named"), [(2, 1, "size=2"), (2.5, 1, r"size=2\.5"), (True, 1, "size=True"), (9, 0, "least=0")])
def test_an_impossible_vocabulary_is_refused(size, least, named):
    with pytest.raises(InputError, match=named):
        word_vocabulary(["a"], size, least)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Men's T-Shirt", ["men's", "t", "shirt"]),
        ("men’s", ["men's"]),
        ("ÉLAN café", ["élan", "café"]),
        ("18kt_gold (2 pcs.)", ["18kt", "gold", "2", "pcs"]),
        ("...", []),
    ],
)
def test_words_of_a_text(text, expected):
    assert words(text) == expected


def test_a_text_of_special_entries_is_only_words():
    index = {word: number for number, word in enumerate(word_vocabulary(["pad unknown"], 10))}
    ids, mask = word_ids("<pad> <unknown>", index, 3)
    assert 0 not in ids[mask.astype(bool)]
    assert 1 not in ids[mask.astype(bool)]


def test_word_numbers_are_cut_and_padded():
    index = {word: number for number, word in enumerate(word_vocabulary(["red shirt", "red"], 10))}
    ids, mask = word_ids("A red red shirt", index, 3)
    assert (ids.tolist(), mask.tolist()) == ([1, 2, 2], [1, 1, 1])
    ids, mask = word_ids("shirt", index, 3)
    assert (ids.tolist(), mask.tolist()) == ([3, 0, 0], [1, 0, 0])
    assert (ids.dtype, mask.dtype) == ("int32", "uint8")
    assert word_ids("", index, 3)[1].tolist() == [0, 0, 0]


# --- word pieces ---


def test_a_text_becomes_the_pieces_that_bert_takes(tokenizers, vocabulary):
    ids, mask = WordPieces(vocabulary, 10)("A spying  SPY, café.")
    assert [PIECES[number] for number in ids[mask.astype(bool)]] == ["[CLS]", "a", "spy", "##ing", "spy", ",", "[UNK]", ".", "[SEP]"]
    assert (ids.dtype, mask.dtype) == ("int32", "uint8")
    assert mask.tolist() == [1] * 9 + [0]
    assert PIECES[ids[-1]] == "[PAD]"


def test_accents_fall_with_the_case(tokenizers, vocabulary):
    ids, _ = WordPieces(vocabulary, 5)("Lové")
    assert PIECES[ids[1]] == "love"
    ids, _ = WordPieces(vocabulary, 5, lower_case=False)("Love")
    assert PIECES[ids[1]] == "[UNK]"


def test_a_long_text_is_cut_before_the_last_token(tokenizers, vocabulary):
    ids, mask = WordPieces(vocabulary, 4)("a spy falls in love")
    assert [PIECES[number] for number in ids] == ["[CLS]", "a", "spy", "[SEP]"]
    assert mask.all()


def test_padding_has_the_number_that_the_vocabulary_gives_it(tokenizers, tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("\r\n".join(["a", *PIECES[:4]]), encoding="utf-8")
    assert WordPieces(path, 4)("a")[0].tolist() == [3, 0, 4, 1]


def test_several_threads_get_the_same_numbers(tokenizers, vocabulary):
    pieces, found = WordPieces(vocabulary, 12), []
    texts = ["a spy", "a spying spy falls in love", "love, love"]

    def work():
        found.append([pieces(text)[0].tolist() for text in texts * 20])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html></html>", "is an HTML page"),
        (b"the\nof\n", r"has no \[PAD\], no \[UNK\], no \[CLS\], no \[SEP\]"),
        ("\n".join([*PIECES, "spy"]).encode(), "has 'spy' in two lines"),
        (b"\xff\xfe\x00", "is no text"),
    ],
)
def test_what_is_no_vocabulary_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        WordPieces(path, 8)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_vocabulary_and_an_impossible_length(tmp_path, vocabulary):
    with pytest.raises(Damaged, match="is missing"):
        WordPieces(tmp_path / "none.txt", 8)
    with pytest.raises(InputError, match="length=2"):
        WordPieces(vocabulary, 2)


def test_a_missing_package_is_told_with_the_way_to_install_it(monkeypatch, vocabulary):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependency, match=r"tokenizers is needed here .*pip install 'equimodal\[transformers\]'"):
        WordPieces(vocabulary, 8)


def test_pieces_are_joined_to_a_text():
    assert joined(["[CLS]", "a", "spy", "##ing", "[UNK]", "[SEP]", "[PAD]", "[PAD]"]) == "a spying [UNK]"
