"""ONNX files read as bytes, before any runtime sees them: Protocol Buffers by hand, and less of them than is allowed.

A message is a row of fields, each a key and a value (protobuf.dev/programming-guides/encoding):

    key    = varint(number << 3 | wire type)
    value  = varint                    wire type 0: an integer
           | varint(length), bytes     wire type 2: a text, a tensor's bytes or another message

A parser of Protocol Buffers takes the last of two equal fields, merges messages, cuts integers to 32 bits and steps
over what it does not know. Whoever checks a file before such a parser reads it must not read it otherwise, so whatever
could be read in two ways is refused here: fields that no table below has, a single field twice, other wire types,
integers in more bytes than they need. The tables hold the fields that `idsnn-export` writes and no others: no external
data, no subgraph, no function, no custom domain, no training information.
"""

from __future__ import annotations

from typing import Any, NamedTuple

VARINT, BYTES = 0, 2  # wire types
MAX_FIELDS = 2**18  # of a file, which is some ten thousand nodes
_MAX_VARINT = 10  # bytes of 64 bits
INTEGER, TEXT, DATA = "integer", "text", "data"
Message = dict[str, Any]


class Malformed(ValueError):
    """Bytes that are no ONNX model, or one with more in it than is read here."""


class Field(NamedTuple):
    """One field of a message: its name, what it holds and whether it may come more than once."""

    name: str
    kind: Any  # INTEGER, TEXT, DATA, or the table of the message that it holds
    many: bool = False


class Table(NamedTuple):
    """The fields of one kind of message, by number."""

    name: str
    fields: dict[int, Field]


# The numbers are those of onnx.proto.
_DIMENSION = Table("dimension", {1: Field("size", INTEGER), 2: Field("symbol", TEXT)})
_SHAPE = Table("shape", {1: Field("dims", _DIMENSION, many=True)})
_TENSOR_TYPE = Table("tensor type", {1: Field("element", INTEGER), 2: Field("shape", _SHAPE)})
_TYPE = Table("type", {1: Field("tensor", _TENSOR_TYPE)})
_PORT = Table("port", {1: Field("name", TEXT), 2: Field("type", _TYPE)})
_TENSOR = Table(
    "tensor",
    {
        1: Field("dims", INTEGER, many=True),
        2: Field("element", INTEGER),
        8: Field("name", TEXT),
        9: Field("data", DATA),
    },
)
_ATTRIBUTE = Table(
    "attribute",
    {
        1: Field("name", TEXT),
        3: Field("integer", INTEGER),
        8: Field("integers", INTEGER, many=True),
        20: Field("type", INTEGER),
    },
)
_NODE = Table(
    "node",
    {
        1: Field("inputs", TEXT, many=True),
        2: Field("outputs", TEXT, many=True),
        3: Field("name", TEXT),
        4: Field("operator", TEXT),
        5: Field("attributes", _ATTRIBUTE, many=True),
    },
)
_GRAPH = Table(
    "graph",
    {
        1: Field("nodes", _NODE, many=True),
        2: Field("name", TEXT),
        5: Field("constants", _TENSOR, many=True),
        11: Field("inputs", _PORT, many=True),
        12: Field("outputs", _PORT, many=True),
    },
)
_OPSET = Table("operator set", {1: Field("domain", TEXT), 2: Field("version", INTEGER)})
_PROPERTY = Table("property", {1: Field("key", TEXT), 2: Field("value", TEXT)})
_MODEL = Table(
    "model",
    {
        1: Field("ir_version", INTEGER),
        2: Field("producer", TEXT),
        7: Field("graph", _GRAPH),
        8: Field("opsets", _OPSET, many=True),
        14: Field("properties", _PROPERTY, many=True),
    },
)
# Words for what a file of somebody else's is most likely to have.
_NAMED = {
    ("tensor", 13): "external data",
    ("attribute", 6): "a subgraph",
    ("node", 7): "a domain",
    ("graph", 15): "a sparse constant",
    ("model", 20): "training information",
    ("model", 25): "a function",
}


def read_model(data: bytes) -> Message:
    """The model in `data`: {field's name: its value}, repeated fields as lists, a tensor's bytes as a view.

    Raises:
        Malformed: bytes that are no such model; says what and at which byte.
    """
    if data[4:8] == b"ORTM":  # onnxruntime would read it in its own format, whatever else it is
        raise Malformed("it is a model in the format of onnxruntime, not of ONNX")
    return _Reader(data).message(_MODEL, 0, len(data))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._view = data, memoryview(data)
        self._left = MAX_FIELDS

    def message(self, table: Table, at: int, end: int) -> Message:
        """The message between two bytes."""
        name, fields = table
        found: Message = {field.name: [] for field in fields.values() if field.many}
        while at < end:
            start = at
            key, at = self._varint(at, end)
            field = fields.get(key >> 3)
            if field is None or key & 7 != (VARINT if field.kind is INTEGER else BYTES):
                what = _NAMED.get((name, key >> 3), f"field {key >> 3}")
                raise Malformed(f"the {name} at byte {start:,} has {what}, which is not read")
            value, at = self._varint(at, end)
            if field.kind is INTEGER:
                content: Any = value - 2**64 if value >= 2**63 else value
            else:
                if value > end - at:
                    raise Malformed(f"it ends inside `{field.name}` of the {name} at byte {start:,}")
                content, at = self._content(field.kind, at, at + value), at + value
            if field.many:
                found[field.name].append(content)
            elif field.name in found:
                raise Malformed(f"two of `{field.name}` in the {name} at byte {start:,}")
            else:
                found[field.name] = content
            self._left -= 1
            if self._left < 0:
                raise Malformed(f"more than {MAX_FIELDS:,} fields")
        return found

    def _content(self, kind: Any, at: int, end: int) -> Any:
        """What a field of bytes holds."""
        if kind is TEXT:
            try:
                return self._data[at:end].decode()
            except UnicodeDecodeError:
                raise Malformed(f"the text at byte {at:,} is not UTF-8") from None
        return self._view[at:end] if kind is DATA else self.message(kind, at, end)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """The integer at a byte, 7 bits per byte and the lowest first, and where it ends."""
        if at < end and self._data[at] < 0x80:  # nearly all of them
            return self._data[at], at + 1
        value = 0
        for place in range(_MAX_VARINT):
            if at >= end:
                raise Malformed(f"it ends inside an integer (byte {at:,})")
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if (place and not byte) or value >= 2**64:
                    break
                return value, at
        raise Malformed(f"the integer before byte {at:,} is longer than it need be")
