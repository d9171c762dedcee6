"""What a parquet file unpacks to, told from the headers of its pages before anything is unpacked.

A page is unpacked whole, and its header says to how many bytes. Headers are Thrift structures in the compact protocol
(https://github.com/apache/parquet-format, ``PageHeader``); of their fields only the first three are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from results.units import in_units

#: bytes that a page may unpack to, and how many times what lies in the file; a larger one must not be denser
LARGEST_PAGE, DENSEST = 256 * 2**20, 20

#: bytes of a header that are read at first, and the most that one may have
HEADER, LARGEST_HEADER = 256, 2**20

#: Thrift's types
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)
DEEPEST = 16


class BadPages(ValueError):
    """The file's pages are not as its footer says, or one unpacks to too much; the message is the end of a sentence."""


@dataclass(frozen=True)
class Page:
    """Bytes of one page: unpacked, as they lie in the file, and of its header."""

    unpacked: int
    packed: int
    header: int


def largest_page(file: BinaryIO, metadata: Any, column: str) -> int:
    """Bytes that the largest page of a column, or of the parts of a nested one, unpacks to.

    Args:
        metadata: pyarrow's ``FileMetaData``.

    Raises:
        BadPages: a page is larger than ``LARGEST_PAGE`` and more than ``DENSEST`` times what lies in the file, or there
            is no page where the footer says.
    """
    largest = 0
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            named = chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}.")
            if not named or not chunk.num_values:  # of no values no page is read, and there may be none
                continue
            for page in pages(file, _start(chunk), chunk.total_compressed_size):
                if page.unpacked > max(LARGEST_PAGE, DENSEST * page.packed):
                    raise BadPages(f"holds a page of {in_units(page.packed)} that unpacks to {in_units(page.unpacked)}")
                largest = max(largest, page.unpacked)
    return largest


def _start(chunk: Any) -> int:
    """Where a column's pages begin; a dictionary comes first. Old writers give 0 where they have none."""
    dictionary = chunk.dictionary_page_offset
    return int(min(dictionary, chunk.data_page_offset) if dictionary else chunk.data_page_offset)


def pages(file: BinaryIO, start: int, length: int) -> Iterator[Page]:
    """The pages in ``length`` bytes from ``start`` on. Raises BadPages."""
    place, end = start, start + length
    while place < end:
        page = _page(file, place)
        place += page.header + page.packed
        yield page


def _page(file: BinaryIO, place: int) -> Page:
    wanted = HEADER
    while True:
        if place < 0:
            raise BadPages("names a page before its beginning")
        file.seek(place)
        content = file.read(wanted)
        reader = _Compact(content)
        try:
            numbers = reader.struct(0)
        except IndexError:  # the header is longer than what was read
            if len(content) < wanted or wanted >= LARGEST_HEADER:
                raise BadPages("ends within a page") from None
            wanted *= 8
            continue
        unpacked, packed = numbers.get(2, -1), numbers.get(3, -1)
        if unpacked < 0 or packed < 0:
            raise BadPages("holds a page without a size")
        return Page(unpacked, packed, reader.at)


class _Compact:
    """Reads one structure. Raises IndexError where the content ends before it does, BadPages where it is none."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def struct(self, depth: int) -> dict[int, int]:
        """Whole numbers among its fields, by field; everything else is skipped."""
        if depth > DEEPEST:
            raise BadPages("holds a page whose header is nested too deeply")
        numbers: dict[int, int] = {}
        field = 0
        while head := self.byte():
            kind, step = head & 15, head >> 4
            field = field + step if step else self.number()
            if kind in (I16, I32, I64):
                numbers[field] = self.number()
            elif kind not in (TRUE, FALSE):
                self.skip(kind, depth)
        return numbers

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise BadPages("holds a page whose header is no Thrift structure")

    def number(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def over(self, count: int) -> None:
        self.at += count
        if self.at > len(self.content):
            raise IndexError

    def skip(self, kind: int, depth: int) -> None:
        if kind in (TRUE, FALSE, BYTE):
            self.over(1)
        elif kind in (I16, I32, I64):
            self.varint()
        elif kind == DOUBLE:
            self.over(8)
        elif kind == UUID:
            self.over(16)
        elif kind == BINARY:
            self.over(self.varint())
        elif kind in (LIST, SET):
            head = self.byte()
            self.many((head & 15,), head >> 4 if head >> 4 < 15 else self.varint(), depth)
        elif kind == MAP:
            if count := self.varint():
                kinds = self.byte()
                self.many((kinds >> 4, kinds & 15), count, depth)
        elif kind == STRUCT:
            self.struct(depth + 1)
        else:
            raise BadPages("holds a page whose header is no Thrift structure")

    def many(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        """Skip so many values, or pairs of them; each has a byte at least."""
        if depth > DEEPEST:
            raise BadPages("holds a page whose header is nested too deeply")
        for _ in range(count):
            for kind in kinds:
                self.skip(kind, depth + 1)
