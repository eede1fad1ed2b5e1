"""HDF5's global heap, which holds strings of variable length, read by hand: HDF5 never follows a reference into it.

A string is stored as a reference, its length in 4 bytes, the address of a collection in 8 and an index in 4. A
collection is `GCOL`, version 1, three bytes, its size in 8 bytes; then objects of a 16-byte header (index in 2 bytes,
count in 2, four bytes, size in 8) and their data, padded to 8. Index 0 is the free space, whose size counts the header
(HDF5 File Format Specification 3.0, III.E). HDF5 2.0 allocates the length that a reference claims before it looks at
the object, up to 4 GiB, and walks a collection without checking that it advances.
"""

from __future__ import annotations

import struct

import numpy as np

from idsnn_deploy.errors import GraphError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
COLLECTION, HEADER = b"GCOL\x01", 16
TEXT = 1 << 24  # bytes of all strings
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])


class Heap:
    """The strings of an HDF5 file.

    Args:
        data: the whole file.

    Raises:
        GraphError: a file whose addresses and lengths do not have 8 bytes, or do not count from its first byte.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._objects: dict[int, dict[int, tuple[int, int]]] = {}  # of a collection: index → where, how long
        self._left = TEXT
        if data[:8] != SIGNATURE:
            raise GraphError("not a NIR file: it does not start as an HDF5 file does")
        # By version of the superblock: where the sizes of addresses and lengths stand, and the base address.
        sizes, base = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}.get(data[8] if data[8:] else -1, (0, 0))
        if data[sizes : sizes + 2] != b"\x08\x08":
            said = data[sizes : sizes + 2].hex(" ") or "no"
            raise GraphError(f"not a NIR file that is read: HDF5 with addresses and lengths of {said} bytes; 8 are")
        if data[base : base + 8] != bytes(8):
            raise GraphError("not a NIR file that is read: its HDF5 addresses do not count from the first byte")

    def strings(self, place: int, count: int) -> list[str]:
        """The strings that `count` references at a byte of the file mean.

        Raises:
            GraphError: references that lead nowhere, or more text than is read.
        """
        if place + count * _REFERENCE.itemsize > len(self._data):
            raise GraphError(f"{count:,} strings at byte {place:,} of {len(self._data):,}")
        references = np.frombuffer(self._data, _REFERENCE, count, place).tolist()
        return [self._string(*reference) for reference in references]

    def _string(self, length: int, address: int, index: int) -> str:
        if not length:
            return ""
        if address not in self._objects:
            self._objects[address] = self._collection(address)
        at, size = self._objects[address].get(index, (0, 0))
        if length > size:
            raise GraphError(f"a string claims {length:,} bytes and has {size:,} in the heap at byte {address:,}")
        self._left -= length
        if self._left < 0:
            raise GraphError(f"more than {TEXT:,} characters")
        return bytes(self._data[at : at + length]).partition(b"\0")[0].decode("utf8")

    def _collection(self, place: int) -> dict[int, tuple[int, int]]:
        """The objects of the collection at a byte."""
        heap = self._data[place : place + HEADER]
        if len(heap) < HEADER or heap[:5] != COLLECTION:
            raise GraphError(f"a string lies at byte {place:,}, where no heap is")
        (size,) = struct.unpack_from("<Q", heap, 8)
        found, at, end = {}, place + HEADER, place + size
        if end > len(self._data):
            raise GraphError(f"the heap at byte {place:,} is longer than the file")
        while end - at >= HEADER:
            index, _, _, length = struct.unpack_from("<HHIQ", self._data, at)
            if not index:  # what is left is free
                break
            if length > end - at - HEADER:
                raise GraphError(f"the heap at byte {place:,} does not add up; the file is damaged")
            found[index] = at + HEADER, length
            at += HEADER + (length + 7) // 8 * 8
        return found
