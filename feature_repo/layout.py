"""Feast's byte layout in Redis, written directly: one hash an entity, one field a feature, each a serialized `Value`.

Building a protobuf for each value and a command for each view costs seven times what is here. `get_online_features`,
`push` and `materialize` read and write the same bytes, which a test compares with Feast's own.
"""

import struct
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value

from feature_repo.schema import VIEW_OF, entity_key, feature_types
from streams.features import FeatureRow, Vector

_VARINT, _FIXED64, _LENGTH_DELIMITED = 0, 1, 2


def _varint(number: int) -> bytes:
    out = bytearray()
    # Protobuf writes a negative number as its 64-bit two's complement.
    number &= 0xFFFF_FFFF_FFFF_FFFF
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


# Lengths and counts are mostly below this, and a look-up is five times faster than the loop.
_SMALL = [_varint(number) for number in range(8192)]


def _size(number: int) -> bytes:
    return _SMALL[number] if number < len(_SMALL) else _varint(number)


_INT = _tag(Value.INT64_VAL_FIELD_NUMBER, _VARINT)
_FLOAT = _tag(Value.DOUBLE_VAL_FIELD_NUMBER, _FIXED64)
_STRING = _tag(Value.STRING_VAL_FIELD_NUMBER, _LENGTH_DELIMITED)
_double = struct.Struct("<d").pack


def _int(value: int) -> bytes:
    return _INT + (_SMALL[value] if 0 <= value < len(_SMALL) else _varint(value))


def _float(value: float) -> bytes:
    return _FLOAT + _double(value)


def _string(value: str) -> bytes:
    text = value.encode()
    return _STRING + _size(len(text)) + text


def _list(field: int) -> Callable[[bytes], bytes]:
    """Return what wraps a serialized list message as a Value."""
    tag = _tag(field, _LENGTH_DELIMITED)
    return lambda message: tag + _size(len(message)) + message


def _packed(field: int) -> Callable[[bytes], bytes]:
    """Return what wraps packed items as a Value: on the wire, packed floats are the array's own bytes."""
    wrap, tag = _list(field), _tag(FloatList.VAL_FIELD_NUMBER, _LENGTH_DELIMITED)
    return lambda items: wrap(tag + _size(len(items)) + items) if items else wrap(b"")


_float_list = _packed(Value.FLOAT_LIST_VAL_FIELD_NUMBER)
_double_list = _packed(Value.DOUBLE_LIST_VAL_FIELD_NUMBER)
_string_list = _list(Value.STRING_LIST_VAL_FIELD_NUMBER)
_int64_list = _list(Value.INT64_LIST_VAL_FIELD_NUMBER)


def _vector(value: Vector) -> bytes:
    return _float_list(value.astype("<f4", copy=False).tobytes())


def _floats(value: list[float]) -> bytes:
    return _double_list(array("d", value).tobytes())


def _strings(value: list[str]) -> bytes:
    return _string_list(StringList(val=value).SerializeToString())


def _ints(value: list[int]) -> bytes:
    return _int64_list(Int64List(val=value).SerializeToString())


ENCODERS: dict[Any, Callable[[Any], bytes]] = {
    int: _int,
    float: _float,
    str: _string,
    Vector: _vector,
    list[str]: _strings,
    list[int]: _ints,
    list[float]: _floats,
}


# The rows of one batch share a few hundred milliseconds.
@lru_cache(maxsize=4096)
def _timestamp(at: int) -> bytes:
    """Return `at` (Unix ms) as a serialized google.protobuf.Timestamp."""
    seconds, millis = divmod(at, 1000)
    out = b"\x08" + _varint(seconds) if seconds else b""
    return out + b"\x10" + _varint(millis * 1_000_000) if millis else out


# A key is made once for each event of a viewer; those of the viewers who are on line now are kept.
@lru_cache(maxsize=200_000)
def redis_key(project: str, key: str, value: str) -> bytes:
    """Return the name of the hash of one viewer (key `user_id`) or video (`video_id`)."""
    entity = EntityKey(join_keys=[key], entity_values=[Value(string_val=value)])
    name: bytes = serialize_entity_key(entity, entity_key_serialization_version=3) + project.encode()
    return name


def field_names(row_type: type[FeatureRow]) -> list[Any]:
    """Return the names of all fields that a row of a type has in its hash."""
    view = VIEW_OF[row_type]
    return [f"_ts:{view}", *(_mmh3(f"{view}:{name}") for name in feature_types(row_type))]


def fields(row_type: type[FeatureRow]) -> Callable[[FeatureRow, list[Any]], None]:
    """Return what appends a row's fields and values, as HSET wants them, to a list."""
    view = VIEW_OF[row_type]
    timestamp_field = f"_ts:{view}"
    plan = [(_mmh3(f"{view}:{name}"), name, ENCODERS[kind]) for name, kind in feature_types(row_type).items()]

    def append_fields(row: FeatureRow, command: list[Any]) -> None:
        command.append(timestamp_field)
        command.append(_timestamp(row.as_of))
        for field, name, encode in plan:
            command.append(field)
            command.append(encode(getattr(row, name)))

    return append_fields


def entity_of(row: FeatureRow) -> tuple[str, str]:
    """Return whom a row is about: the key's name and value."""
    key = entity_key(type(row))
    return key, getattr(row, key)
