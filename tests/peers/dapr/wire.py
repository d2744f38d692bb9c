# SPDX-License-Identifier: Apache-2.0
"""The few protobuf messages of daprd's API, by hand: every field that is used is bytes or text."""

RUNTIME = "/dapr.proto.runtime.v1."


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def any_of(value):
    return field(1, "type.googleapis.com/google.protobuf.BytesValue") + field(2, field(1, value))


def raw(message):
    """Serializer and deserializer of grpcio: the messages are bytes already."""
    return message
