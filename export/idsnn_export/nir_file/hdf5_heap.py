"""HDF5's global heap, which holds strings of variable length, looked at before HDF5 reads it.

A collection is `GCOL`, version 1, three bytes, its size in 8 bytes; then objects of a 16-byte header (index in 2 bytes,
count in 2, four bytes, size in 8) and their data, padded to 8. Index 0 is the free space, whose size counts the header
(HDF5 File Format Specification 3.0, III.E). HDF5 2.0 walks this chain without checking that it advances: a free space
of size 0 keeps it busy for ever, with no way to stop it from Python.
"""

from __future__ import annotations

import struct

from idsnn_deploy.errors import GraphError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
COLLECTION, HEADER = b"GCOL\x01", 16


def check_heaps(data: bytes) -> None:
    """Refuses a file with a heap collection in which HDF5 would lose its way.

    Raises:
        GraphError: such a collection, or a file whose lengths do not have 8 bytes.
    """
    if data[:8] != SIGNATURE:
        raise GraphError("not a NIR file: it does not start as an HDF5 file does")
    lengths = data[10:11] if data[8:9] in (b"\2", b"\3") else data[14:15]  # by version of the superblock
    if lengths != b"\x08":
        raise GraphError(f"not a NIR file that is read: HDF5 with lengths of {lengths.hex() or 'no'} bytes; 8 are read")
    place = data.find(COLLECTION)
    while place >= 0:
        _check(memoryview(data)[place:], place)
        place = data.find(COLLECTION, place + 1)


def _check(heap: memoryview, place: int) -> None:
    if len(heap) < HEADER:
        return
    (size,) = struct.unpack_from("<Q", heap, 8)
    if size > len(heap):  # HDF5 stops at the end of the file itself; or these are a weight's bytes
        return
    at = HEADER
    while size - at >= HEADER:
        index, _, _, length = struct.unpack_from("<HHIQ", heap, at)
        step = HEADER + (length + 7) // 8 * 8 if index else length
        if not HEADER <= step <= size - at:
            raise GraphError(f"the heap at byte {place} does not add up; the file is damaged")
        at += step
