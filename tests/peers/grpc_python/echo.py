# SPDX-License-Identifier: Apache-2.0
"""What both ends know: how a call of this scenario looks in a record. Messages are plain bytes."""

import zlib

SERVER_ERRORS = (2, 4, 12, 13, 14, 15)
# What a deadline looks like on the wire: reset by the client, or told by the server, whoever is first.
DEADLINE = {"outcome": {"any": ["ABORTED", "SERVER_ERROR", "NO_RESPONSE"]}, "status_code": {"any": [0, 4]}}
NAMES = ("Unary", "Gzip", "Meta", "Empty", "ServerStream", "ClientStream", "Bidi", "OneEach", "Fail", "FailLate",
         "Deadline", "Cancel", "Large", "LargeStream")


def outcome(code):
    return "OK" if code == 0 else "SERVER_ERROR" if code in SERVER_ERRORS else "CLIENT_ERROR"


def base(method, code=0, service="peer.Echo", **more):
    return {"protocol": "grpc", "service": service, "method": method,
            "path": "/%s/%s" % (service, method), "status_code": code, "outcome": outcome(code), **more}


def reply_of(token):
    """The reply's token: another one that both ends can tell from the request's."""
    return "rp" + token[2:]


def details(token, code):
    """Text that has to be escaped on the wire."""
    return "failed with %d: 100%% %%41 \u00e9\u4f60\U0001f600\n%s" % (code, reply_of(token))


def filler(token, n):
    """n bytes that begin with the token and do not repeat much."""
    out, seed = bytearray(token.encode() + b"|"), zlib.crc32(token.encode())
    while len(out) < n:
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        out += b"%08x" % seed
    return bytes(out[:n])
