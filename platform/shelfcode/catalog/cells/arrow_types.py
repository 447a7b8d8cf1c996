"""Arrow's many types for one thing, brought to the plain one: encodings, views, fixed sizes and UUIDs."""

import uuid

import pyarrow as pa
import pyarrow.compute as pc


def plain(values: pa.Array) -> pa.Array:
    """Values of text, or lists of it, in Arrow's plain types: decoded, no views, lists of any length. Others stay as they are."""
    values = _decoded(values)
    kind = _plain_type(values.type)
    if kind == values.type:
        return values
    # Arrow 26 casts a view of lists to lists with an offset too few.
    return pa.array(values.to_pylist(), kind) if _is_list_view(values.type) else values.cast(kind)


def ride_along(values: pa.Array) -> pa.Array:
    """Values of a column that is kept as it is, but for encodings and views, which not every reader of Parquet knows."""
    values = _decoded(values)
    return values if _is_list(values.type) else plain(values)


def is_text(kind: pa.DataType) -> bool:
    """Whether a plain type is text, or bytes that may be text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_bytes(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a plain type is bytes of any length."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that `plain` gives for values of a type."""
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if pa.types.is_run_end_encoded(kind) or pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return _plain_type(kind)


def _decoded(values: pa.Array) -> pa.Array:
    kind = values.type
    if isinstance(kind, pa.UuidType):
        return pa.array([None if value is None else str(uuid.UUID(bytes=value)) for value in values.storage.to_pylist()], pa.string())
    if isinstance(values, pa.ExtensionArray):
        return _decoded(values.storage)
    if pa.types.is_run_end_encoded(kind):
        return _decoded(pc.run_end_decode(values))
    return _decoded(values.dictionary_decode()) if pa.types.is_dictionary(kind) else values


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if kind == pa.string_view():
        return pa.string()
    if kind == pa.binary_view():
        return pa.binary()
    if _is_list(kind) and _holds_text(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def _is_list(kind: pa.DataType) -> bool:
    return _is_list_view(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_list_view(kind: pa.DataType) -> bool:
    return pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)


def _holds_text(kind: pa.DataType) -> bool:
    while _is_list(kind) or pa.types.is_dictionary(kind):
        kind = kind.value_type
    return is_text(kind) or pa.types.is_null(kind) or kind in (pa.string_view(), pa.binary_view())
