# SPDX-License-Identifier: Apache-2.0
"""The service of tests/peers/grpc_python in grpclib (h2 and hpack, all Python): server.py PORT. Its clients log."""

import asyncio
import re
import sys

import grpclib.encoding.base
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from echo import details, filler, reply_of

TOKEN = re.compile(rb"tk[0-9a-z-]{4,60}_")


class Bytes(grpclib.encoding.base.CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message, message_type):
        return message

    def decode(self, data, message_type):
        return data


def token_of(data):
    return TOKEN.search(data).group().decode()


def answer(data):
    token = token_of(data)
    return data.replace(token.encode(), reply_of(token).encode())


async def unary(stream):
    await stream.send_message(answer(await stream.recv_message()))


async def meta(stream):
    token = token_of(await stream.recv_message())
    await stream.send_initial_metadata(metadata={"x-first": "a " + reply_of(token)})
    await stream.send_message(reply_of(token).encode())
    await stream.send_trailing_metadata(metadata={"x-last": "z " + reply_of(token),
                                                  "x-last-bin": bytes(range(40))})


async def empty(stream):
    await stream.recv_message()
    await stream.send_initial_metadata(metadata={"x-reply": reply_of(stream.metadata["x-token"])})
    await stream.send_message(b"")


async def server_stream(stream):
    token = token_of(await stream.recv_message())
    for i in range(5):
        await stream.send_message(b"%d %s" % (i, reply_of(token).encode()))


async def client_stream(stream):
    got = [m async for m in stream]
    await stream.send_message(b"%d %s" % (len(got), reply_of(token_of(got[0])).encode()))


async def bidi(stream):
    async for m in stream:
        await stream.send_message(answer(m))


async def one_each(stream):
    token = token_of([m async for m in stream][0])
    await stream.send_message(reply_of(token).encode())


async def fail(stream):
    request = await stream.recv_message()
    code = int(request.split(b" ")[0])
    raise GRPCError(Status(code), details(token_of(request), code))


async def fail_late(stream):
    request = await stream.recv_message()
    code, token = int(request.split(b" ")[0]), token_of(request)
    await stream.send_message(b"one " + reply_of(token).encode())
    await stream.send_message(b"two")
    raise GRPCError(Status(code), details(token, code))


async def deadline(stream):
    await stream.recv_message()
    await asyncio.sleep(20)


async def cancel(stream):
    token = token_of(await stream.recv_message())
    await stream.send_message(b"one " + reply_of(token).encode())
    await stream.send_message(b"two")
    await asyncio.sleep(20)


async def large(stream):
    request = await stream.recv_message()
    await stream.send_message(filler(reply_of(token_of(request)), len(request)))


METHODS = {"Unary": (unary, "UNARY_UNARY"), "Meta": (meta, "UNARY_UNARY"), "Empty": (empty, "UNARY_UNARY"),
           "ServerStream": (server_stream, "UNARY_STREAM"), "ClientStream": (client_stream, "STREAM_UNARY"),
           "Bidi": (bidi, "STREAM_STREAM"), "OneEach": (one_each, "STREAM_STREAM"),
           "Fail": (fail, "UNARY_UNARY"), "FailLate": (fail_late, "UNARY_STREAM"),
           "Deadline": (deadline, "UNARY_UNARY"), "Cancel": (cancel, "UNARY_STREAM"),
           "Large": (large, "UNARY_UNARY")}


class Echo:
    def __mapping__(self):
        return {"/peer.Echo/" + name: Handler(f, getattr(Cardinality, kind), bytes, bytes)
                for name, (f, kind) in METHODS.items()}


async def main():
    server = Server([Echo()], codec=Bytes())
    await server.start("127.0.0.1", int(sys.argv[1]))
    await server.wait_closed()


asyncio.run(main())
