"""A text file as characters: unpacked and decoded. A byte that cannot be decoded stays recognisable, so it costs its own row alone."""

import codecs
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from charset_normalizer import from_bytes

from shelfcode.catalog.formats.content import HEAD_BYTES, decompressed, encoding_of
from shelfcode.store import open_filesystem

_UNDECODABLE = "shelfcode-undecodable"
_FIRST = 0xDC00
COMMON_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp932", "gb18030", "big5", "euc_kr")
"""Those that a hint chooses from. The Western European ones differ in a handful of characters that catalogs hardly have."""


def _keep_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Each byte that cannot be decoded as half of a surrogate pair, which no text contains."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_FIRST + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_UNDECODABLE, _keep_undecodable)


@contextmanager
def open_text(url: str, encoding: str | None) -> Iterator[io.TextIOWrapper]:
    """The characters of a file, line ends as they are.

    Args:
        encoding: as declared; where it is None, what the first bytes say.
    """
    fs, path = open_filesystem(url)
    with fs.open(path, "rb") as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        plain = decompressed(stream, head)
        if plain is not stream:
            plain = io.BufferedReader(plain, HEAD_BYTES)
            head = plain.peek()
        chosen = encoding or encoding_of(head)
        if encoding and codecs.lookup(encoding).name == "utf-8":
            chosen = "utf-8-sig"  # which is the same without a mark
        with io.TextIOWrapper(plain, encoding=chosen, errors=_UNDECODABLE, newline="") as text:
            yield text


def is_decoded(text: str) -> bool:
    """Whether all of a text could be decoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def undecoded(text: str) -> bytes:
    """A text with its undecodable bytes as they were: not UTF-8."""
    return b"".join(
        bytes([ord(char) - _FIRST]) if _FIRST <= ord(char) < _FIRST + 256 else char.encode("utf-8", "surrogatepass") for char in text
    )


def encoding_hint(cells: Sequence[bytes | None]) -> str:
    """For bytes that are not UTF-8, which encodings they may be in, and how to say so: the end of a message, or nothing."""
    sample = b"\n".join(cell for cell in cells if cell)[:HEAD_BYTES]
    found: list[Any] = list(from_bytes(sample, cp_isolation=list(COMMON_ENCODINGS)))
    names = {name for match in found for name in (match.encoding, *match.could_be_from_charset)}
    likely = [name for name in COMMON_ENCODINGS if name in names][:2]
    return f" (perhaps {' or '.join(likely)}; --set catalog.encoding={likely[0]} declares it)" if likely else ""
