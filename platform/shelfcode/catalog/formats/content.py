"""What a file is: by the ending of its name where that says it, otherwise by how it begins."""

import codecs
import re
from typing import Any

import pyarrow as pa

FORMATS = {
    "parquet": "parquet", "pq": "parquet", "csv": "csv", "tsv": "csv", "tab": "csv", "psv": "csv", "txt": "csv",
    "jsonl": "jsonl", "ndjson": "jsonl", "json": "json",
}  # fmt: skip
COMPRESSED = ("gz", "gzip", "zst", "zstd", "bz2")
"""Endings of compressed files. How one is compressed its first bytes say, not its name."""

HEAD_BYTES = 64 * 2**10
"""How much of a file is looked at to tell what it is."""

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
          codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
_OTHERS = {b"PK\x03\x04": "a ZIP archive or an Excel workbook", b"\xd0\xcf\x11\xe0": "an Excel workbook", b"ORC": "ORC", b"Obj\x01": "Avro",
           b"\xfd7zXZ": "compressed by xz", b"\x04\x22\x4d\x18": "compressed by lz4", b"%PDF": "PDF",
           b"SQLite format": "an SQLite database", b"ARROW1": "an Arrow file", b"PAR1": "Parquet that was packed as a whole"}  # fmt: skip
LFS_POINTER = b"version https://git-lfs"
_NO_DATA = re.compile(
    r"(readme|license|licence|changelog|notice)(\..*)?|.*\.(md|rst|html?|pdf|png|jpe?g|gif|svg|log|sh|py|sql|ya?ml|toml|md5|sha1|sha256|crc)",
    re.IGNORECASE,
)


def format_by_name(path: str) -> str | None:
    """The format that the ending of a file's name says; None where it says none that is read here."""
    endings = path.rsplit("/", 1)[-1].lower().split(".")[1:]
    while endings and endings[-1] in COMPRESSED:
        endings.pop()
    return FORMATS.get(endings[-1]) if endings else None


def holds_no_data(path: str) -> bool:
    """Whether a file lies beside data by the look of its name, such as a README, a picture or a checksum."""
    return _NO_DATA.fullmatch(path.rsplit("/", 1)[-1]) is not None


def compression_of(head: bytes) -> str | None:
    """How a file is compressed that begins like this: gzip, zstd, bz2 or, by None, not at all."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def encoding_of(head: bytes) -> str:
    """The encoding of text that begins like this: by its byte order mark, or by every second byte being zero; otherwise UTF-8."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    zeros = [sum(byte == 0 for byte in head[start::2]) * 2 for start in (0, 1)]
    if max(zeros) * 2 > len(head) and min(zeros) * 4 < max(zeros):
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    return "utf-8"


def decompressed(stream: Any, head: bytes) -> Any:
    """A stream of bytes, unpacked where its head says that it is compressed. Whoever reads one that is cut off gets an OSError."""
    kind = compression_of(head)
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), kind) if kind else stream


def format_of_content(stream: Any) -> tuple[str | None, str]:
    """The format of a file by its first bytes, and in words what it is where nothing here reads it."""
    head = stream.read(HEAD_BYTES)
    if head.startswith(LFS_POINTER):
        return None, "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"
    if head.startswith(b"PAR1"):
        return "parquet", ""
    if compression_of(head):
        stream.seek(0)
        head = decompressed(stream, head).read(HEAD_BYTES)
    for magic, words in _OTHERS.items():
        if head.startswith(magic):
            return None, words
    encoding = encoding_of(head)
    text = head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    if encoding == "utf-8" and b"\0" in head:
        return None, "no text"
    if text.startswith(("[", "{")):
        return ("json" if text.startswith("[") else "jsonl"), ""
    return ("csv", "") if text else (None, "empty")
