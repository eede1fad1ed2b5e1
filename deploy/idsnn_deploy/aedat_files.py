"""AEDAT 2 and 3, the files of jAER and cAER, as arrays of events.

| version | behind the header | bits of an address, from the lowest |
|---|---|---|
| 2 | address and time (µs) of 32 bits each, big endian | DVS128: polarity 0, x 1..7, y 8..14 |
| 3 | packets: a header of 28 bytes, addresses and times, little endian | valid 0, polarity 1, y 2..16, x 17..31 |

DVS128 counts columns from the right, rows from below, and calls a darker pixel 1.
Version 3 keeps the upper bits of its times in the packet's header.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np

from .arrays import Array

_MARK, _END = rb"#!AER-DAT(\d)", b"#!END-HEADER"
_PACKET = struct.Struct("<HHIIIIII")  # type, source, size, time's offset, overflows, capacity, number, valid
_POLARITY = 1
_EDGE = 127  # the last row and column of a DVS128


def aedat_fields(data: bytes) -> dict[str, Array]:
    """x, y, t (µs) and p of a file, arrays of one length.

    Raises:
        ValueError: another version, another camera's addresses, or a file that ends too soon.
    """
    version = re.match(_MARK, data)
    if version is None:
        raise ValueError("does not begin with #!AER-DAT")
    number = int(version[1])
    if number not in (2, 3):
        raise ValueError(f"version {number}; 2 and 3 are read (version 4 has the ending .aedat4)")
    return _version_2(data) if number == 2 else _version_3(data)


def _version_2(data: bytes) -> dict[str, Array]:
    header, body = header_lines(data)
    if b"davis" in header.lower():
        raise ValueError("addresses of a DAVIS; of version 2 those of a DVS128 are read")
    if len(body) % 8:
        raise ValueError(f"{len(body):,} bytes of events, not eight an event; truncated")
    address, time = np.frombuffer(body, ">u4").reshape(-1, 2).T.astype(np.int64)
    return {"x": _EDGE - (address >> 1 & 127), "y": _EDGE - (address >> 8 & 127), "t": time, "p": 1 - (address & 1)}


def _version_3(data: bytes) -> dict[str, Array]:
    header, end, body = data.partition(_END)
    if not end:
        raise ValueError("its header has no end")
    kept = re.search(rb"#Format: *(\S+)", header)
    if kept is not None and kept[1] != b"RAW":
        raise ValueError(f"events kept as {kept[1].decode(errors='replace')}; RAW is read")
    packets = [_packet(words, overflows) for words, overflows in _packets(body.partition(b"\n")[2])]
    joined = np.concatenate(packets, axis=1) if packets else np.empty((4, 0), np.int64)
    return dict(zip("xytp", joined, strict=True))


def header_lines(data: bytes, mark: bytes = b"#") -> tuple[bytes, bytes]:
    """The lines at the beginning that begin with `mark`, and what comes behind them."""
    at = 0
    while data[at : at + 1] == mark:
        end = data.find(b"\n", at)
        at = len(data) if end < 0 else end + 1
    return data[:at], data[at:]


def _packets(body: bytes) -> Iterator[tuple[Array, int]]:
    """The words `(n, 2)` of each packet of polarity events, and how often its clock has run over."""
    at = 0
    while at < len(body):
        if len(body) < at + _PACKET.size:
            raise ValueError("ends within a packet's header; truncated")
        kind, _, size, _, overflows, capacity, number, _ = _PACKET.unpack_from(body, at)
        first, at = at + _PACKET.size, at + _PACKET.size + size * capacity
        if at > len(body) or number > capacity:
            raise ValueError("ends within a packet of events; truncated")
        if kind == _POLARITY and size == 8:
            yield np.frombuffer(body, "<u4", 2 * number, first).reshape(-1, 2), overflows


def _packet(words: Array, overflows: int) -> Array:
    """x, y, t, p of the valid events, int64 `(4, n)`."""
    address, time = words[(words[:, 0] & 1) == 1].T.astype(np.int64)
    return np.stack([address >> 17, address >> 2 & 0x7FFF, (overflows << 31) + time, address >> 1 & 1])
