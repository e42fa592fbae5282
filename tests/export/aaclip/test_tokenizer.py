"""The byte-pair encoder: what is known of OpenAI's, and what must hold for any list of merges."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError, ModelFileError

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

from export.aaclip.tokenizer import Tokenizer, Vocabulary, cleaned, read_vocabulary

REAL = "ADCLIP_CLIP_VOCABULARY"
PRINTABLE = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=40)

# each later merge builds on earlier ones; ("b", "c</w>") is later than ("a", "b"), so it loses to it
MERGES = (("a", "b"), ("ab", "a"), ("b", "c</w>"), ("ab", "ab"), ("aba", "b</w>"))


@pytest.fixture
def tokenizer(vocabulary_file: Path, merges: list[tuple[str, str]]) -> Tokenizer:
    return read_vocabulary(vocabulary_file).sized(514 + len(merges))


def test_ids_of_single_letters_are_openais_for_any_list_of_merges() -> None:
    # "x" is 343 and "." is 269 in OpenAI's vocabulary: a byte's place among the visible ones, plus 256
    assert Tokenizer(()).encode("X.") == [343, 269]


def test_start_and_end_are_the_last_two_ids() -> None:
    tokenizer = Tokenizer(MERGES)
    assert (tokenizer.start, tokenizer.end) == (514 + len(MERGES) - 2, 514 + len(MERGES) - 1)


@pytest.mark.parametrize(
    ("word", "symbols"),
    [
        ("abc", ["ab", "c</w>"]),  # the earliest pair of the list, not the last of the word
        ("bc", ["bc</w>"]),
        ("abab", ["abab</w>"]),  # "b" and the "b" that ends a word are two symbols
        ("ababab", ["ab", "abab</w>"]),  # ("ab", "a") comes before ("ab", "ab")
        ("abababc", ["abab", "ab", "c</w>"]),  # of overlapping pairs the left one
        ("aba", ["ab", "a</w>"]),
        ("c", ["c</w>"]),
    ],
)
def test_the_earliest_merge_is_done_first_and_everywhere(word: str, symbols: list[str]) -> None:
    tokenizer = Tokenizer(MERGES)
    table = {symbol: i for i, symbol in enumerate(tokenizer.symbols)}
    assert tokenizer.encode(word) == [table[symbol] for symbol in symbols]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("An Object.", ["an", "object", "."]),
        ("the ring's flaw", ["the", "ring", "'s", "flaw"]),
        ("M12 bolt", ["m", "1", "2", "bolt"]),  # digits stand alone
        ("nuts &amp; bolts", ["nuts", "&", "bolts"]),
        ("--'s", ["--'", "s"]),  # a run of other signs takes the apostrophe along
        ("  Türgriff \t neu ", ["türgriff", "neu"]),
        ("", []),
    ],
)
def test_words_are_split_as_clip_does(text: str, words: list[str]) -> None:
    tokenizer = Tokenizer(())
    assert tokenizer.decode(tokenizer.encode(text)).split() == words


@given(PRINTABLE)
def test_encoding_then_decoding_gives_the_cleaned_text_but_for_spaces(text: str) -> None:
    tokenizer = Tokenizer(MERGES)
    try:
        wanted = cleaned(text)
    except ConfigError:
        return
    assert "".join(tokenizer.decode(tokenizer.encode(text)).split()) == "".join(wanted.split())


@given(st.lists(st.text("abcdeghinoprstw", min_size=1, max_size=12), max_size=6).map(" ".join))
def test_words_are_merged_as_by_going_through_the_list_once(
    tokenizer_and_naive: tuple[Tokenizer, Callable[[str], list[int]]], text: str
) -> None:
    tokenizer, naive_encode = tokenizer_and_naive
    assert tokenizer.encode(text) == naive_encode(text)


@pytest.fixture(scope="module")
def tokenizer_and_naive(
    vocabulary_file: Path, merges: list[tuple[str, str]], naive_encode: Callable[[str], list[int]]
) -> tuple[Tokenizer, Callable[[str], list[int]]]:
    return read_vocabulary(vocabulary_file).sized(514 + len(merges)), naive_encode


def test_a_sequence_is_framed_and_filled_with_zeros(tokenizer: Tokenizer) -> None:
    ids = tokenizer.sequence("a photo of the object.", 20)
    text = tokenizer.encode("a photo of the object.")
    assert ids == [tokenizer.start, *text, tokenizer.end, *[0] * (18 - len(text))]


def test_a_sentence_that_just_fits_is_taken_and_one_token_more_is_refused(tokenizer: Tokenizer) -> None:
    assert tokenizer.sequence("xxx xxx", 8)[-1] == tokenizer.end
    with pytest.raises(ConfigError, match="has 9 tokens, and the text tower takes 8"):
        tokenizer.sequence("xxx xxx x", 8)


@pytest.mark.parametrize(
    "text", ["\u201cbest\u201d part", "\ufb01lter", "wide \uff21", "a\x00b", "10 \u00b5m", "ring\u02bcs"]
)
def test_characters_that_clip_would_rewrite_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"U\+"):
        Tokenizer(()).encode(text)


def test_an_accent_may_be_written_in_either_form() -> None:
    tokenizer = Tokenizer(())
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("caf\u00e9")


def test_packed_and_plain_lists_read_alike(vocabulary_file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "merges.txt"
    plain.write_bytes(gzip.decompress(vocabulary_file.read_bytes()))
    assert read_vocabulary(plain).merges == read_vocabulary(vocabulary_file).merges


def test_only_the_first_merges_are_used_as_many_as_the_clip_file_takes(tmp_path: Path) -> None:
    vocabulary = _written(tmp_path, "#version: 0.2\na b\nab c\n")
    assert vocabulary.sized(515).encode("abcd") == Tokenizer((("a", "b"),)).encode("abcd")


@pytest.mark.parametrize("tokens", [513, 517])
def test_a_vocabulary_of_another_size_is_refused(tokens: int, tmp_path: Path) -> None:
    vocabulary = _written(tmp_path, "#version: 0.2\na b\nab c\n")
    with pytest.raises(ModelFileError, match=f"with its {tokens} tokens"):
        vocabulary.sized(tokens)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "first line"),
        (b"a b\nab c\n", "first line"),  # the header is missing, so every id would be off by one
        (b"#version: 0.2\na b\nabc\n", "line 3"),
        (b"#version: 0.2\na b c\n", "line 2"),
        (b"#version: 0.2\n\na b\n", "line 2"),
        (b"\xff\xfe\x00", "not text"),
        (gzip.compress(b"#version: 0.2\na b\n")[:-9], "packing is damaged"),
        (gzip.compress(b"#version: 0.2\na b\n")[:12] + bytes(12), "packing is damaged"),
    ],
)
def test_a_file_that_is_no_list_of_merges_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=why):
        read_vocabulary(path)


def test_a_vocabulary_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nowhere"):
        read_vocabulary(tmp_path / "nowhere.txt.gz")


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} does not name bpe_simple_vocab_16e6.txt.gz")
def test_openais_own_vocabulary_gives_its_known_ids() -> None:
    tokenizer = read_vocabulary(Path(os.environ[REAL])).sized(49408)
    assert (tokenizer.start, tokenizer.end) == (49406, 49407)
    assert tokenizer.encode("X damaged object.") == [343, 13568, 14115, 269]
    assert tokenizer.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]


def _written(folder: Path, text: str) -> Vocabulary:
    path = folder / "merges.txt"
    path.write_text(text)
    return read_vocabulary(path)
