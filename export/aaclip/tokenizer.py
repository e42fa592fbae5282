"""CLIP's byte-pair encoding: a sentence → token ids.

    text ─▶ clean, lower case ─▶ words ─▶ bytes as printable symbols ─▶ merged pairs ─▶ ids

The vocabulary is the user's file, `bpe_simple_vocab_16e6.txt.gz` as OpenAI publishes it or the `merges.txt` of
a Hugging Face CLIP, which is the same list: a header line, then one merge a line, the earliest first. The ids
follow from the order: 256 bytes, the same 256 at the end of a word, one per merge, start and end of text.
Written out here because the libraries that do it bring a deep-learning stack or a second tokenizer with them.
"""

from __future__ import annotations

import gzip
import html
import io
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from edge.errors import ConfigError, ModelFileError
from export.weights_file import sha256_of

END_OF_WORD = "</w>"
BYTES = 256
SPECIAL = 2
"""Start and end of text, the last two ids."""

SMALLEST_VOCABULARY = 2 * BYTES + SPECIAL
LARGEST_TEXT_BYTES = 64 << 20
"""OpenAI's list takes 3 MiB unpacked."""

VERSION = "#version"
"""Part of the first line of either file; without that line every id would be off by one."""

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
LOW_AND_LETTER_QUOTES = "\u201a\u201e\u02bc"
"""Typographic quotes that Unicode does not class as such."""

GZIP_MAGIC = b"\x1f\x8b"

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The list of merges, the earliest first."""

    path: Path
    sha256: str
    merges: tuple[Pair, ...]

    def sized(self, tokens: int) -> Tokenizer:
        """The tokenizer with this many tokens: the first merges of the list, as many as it takes.

        OpenAI's list is longer than what its models use. Raises `ModelFileError` when it is too short.
        """
        needed = tokens - SMALLEST_VOCABULARY
        if not 0 <= needed <= len(self.merges):
            raise ModelFileError(
                f"{self.path} has {len(self.merges)} merges, and with its {tokens} tokens the CLIP file needs "
                f"{needed}.",
                do="Give the vocabulary that the CLIP file was trained with: bpe_simple_vocab_16e6.txt.gz.",
            )
        return Tokenizer(self.merges[:needed])


class Tokenizer:
    """Encodes text with a list of merges."""

    def __init__(self, merges: Sequence[Pair]) -> None:
        letters = list(_BYTE_SYMBOLS.values())
        joins = [first + second for first, second in merges]
        self.symbols = [*letters, *(letter + END_OF_WORD for letter in letters), *joins]
        # Of equal entries the last one counts, as in the original's tables.
        self._ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}

    @property
    def start(self) -> int:
        """Id of the token before a text."""
        return len(self.symbols)

    @property
    def end(self) -> int:
        """Id of the token after a text, the largest of all."""
        return self.start + 1

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without start and end. Raises `ConfigError` for characters that cannot be used."""
        return [self._ids[symbol] for word in _words(cleaned(text)) for symbol in self._merged(word)]

    def sequence(self, text: str, length: int) -> list[int]:
        """Start, text, end, then zeros up to `length`. Raises `ConfigError` when the text is too long."""
        ids = [self.start, *self.encode(text), self.end]
        if len(ids) > length:
            raise ConfigError(
                f"The sentence {text!r} has {len(ids)} tokens, and the text tower takes {length}.",
                do="Describe the product in fewer words.",
            )
        return ids + [0] * (length - len(ids))

    def decode(self, ids: list[int]) -> str:
        """The text of ids without start and end: words cleaned as in `encode`, a space after each."""
        joined = "".join(self.symbols[number] for number in ids)
        spaced = joined.replace(END_OF_WORD, " ")
        return bytes(_SYMBOL_BYTES.get(symbol, ord(" ")) for symbol in spaced).decode("utf-8", "replace")

    def _merged(self, word: str) -> list[str]:
        """Join neighbours, the pair that is earliest in the list first, until no pair is in it."""
        symbols = [_BYTE_SYMBOLS[byte] for byte in word.encode()]
        symbols[-1] += END_OF_WORD
        while known := [pair for pair in pairwise(symbols) if pair in self._ranks]:
            symbols = _joined(symbols, min(known, key=self._ranks.__getitem__))
        return symbols


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a list of merges, packed or plain.

    Raises `ModelFileError` when the file is unreadable, damaged, or not such a list.
    """
    sha256 = sha256_of(path)
    header, *lines = _text(path).splitlines() or [""]
    if VERSION not in header:
        raise _no_vocabulary(path, f"its first line does not tell a {VERSION}")
    merges = tuple(_merge(line, number, path) for number, line in enumerate(lines, start=2))
    return Vocabulary(path, sha256, merges)


def cleaned(text: str) -> str:
    """As CLIP cleans a text: entities resolved, one form of each accent, single spaces, lower case.

    Raises `ConfigError` for characters that CLIP's cleaning would guess about (typographic quotes, ligatures,
    full-width letters, control characters), so that what is encoded is what was typed.
    """
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    text = " ".join(text.split())
    doubtful = [letter for letter in text if _doubtful(letter)]
    if doubtful:
        raise ConfigError(
            f"The text {text!r} has a character that CLIP does not know as it is: {doubtful[0]!r} "
            f"(U+{ord(doubtful[0]):04X}).",
            do="Write it with plain letters and straight quotes.",
        )
    return text.lower()


def _merge(line: str, number: int, path: Path) -> Pair:
    first, _, second = line.partition(" ")
    if not first or not second or " " in second:
        raise _no_vocabulary(path, f"line {number} is not a merge of two symbols")
    return first, second


def _doubtful(letter: str) -> bool:
    category = unicodedata.category(letter)
    quote = category in ("Pi", "Pf") or letter in LOW_AND_LETTER_QUOTES
    return quote or category[0] == "C" or unicodedata.normalize("NFKC", letter) != letter


def _words(text: str) -> Iterator[str]:
    """Contractions, runs of letters, single digits, and runs of anything else; spaces part words."""
    begin = 0
    while begin < len(text):
        end = _word_end(text, begin)
        if text[begin] != " ":
            yield text[begin:end]
        begin = end


def _word_end(text: str, begin: int) -> int:
    for contraction in CONTRACTIONS:
        if text.startswith(contraction, begin):
            return begin + len(contraction)
    kind, end = _kind(text[begin]), begin + 1
    if kind in ("N", " "):
        return end
    while end < len(text) and _kind(text[end]) == kind:
        end += 1
    return end


def _kind(letter: str) -> str:
    """L letter, N number, space, or * anything else; by Unicode's general category."""
    if letter == " ":
        return " "
    major = unicodedata.category(letter)[0]
    return major if major in "LN" else "*"


def _joined(symbols: list[str], pair: Pair) -> list[str]:
    """Every occurrence of the pair replaced by its join, from the left."""
    joined: list[str] = []
    for symbol in symbols:
        # A join is longer than either of the pair, so it cannot open the pair again.
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _text(path: Path) -> str:
    """The file's text, unpacked when it is packed, without an empty last line."""
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST_TEXT_BYTES + 1)
        if len(content) > LARGEST_TEXT_BYTES:
            raise _no_vocabulary(path, f"its text is larger than {LARGEST_TEXT_BYTES >> 20} MiB")
        return content.decode()
    except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
        raise _no_vocabulary(path, "its packing is damaged or ends early") from fault
    except UnicodeDecodeError as fault:
        raise _no_vocabulary(path, "it is not text") from fault


def _no_vocabulary(path: Path, how: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is no CLIP vocabulary: {how}.",
        do="Give bpe_simple_vocab_16e6.txt.gz of OpenAI's CLIP, or the merges.txt of a Hugging Face CLIP.",
    )


def _byte_symbols() -> dict[int, str]:
    """A printable symbol for each byte: the visible ones stand for themselves, the rest follow from 256 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = {byte: chr(byte) for byte in visible}
    hidden = [byte for byte in range(BYTES) if byte not in symbols]
    return symbols | {byte: chr(BYTES + place) for place, byte in enumerate(hidden)}


_BYTE_SYMBOLS = _byte_symbols()
_SYMBOL_BYTES = {symbol: byte for byte, symbol in _BYTE_SYMBOLS.items()}
