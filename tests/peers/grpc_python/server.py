# SPDX-License-Identifier: Apache-2.0
"""The service: logs each call of its own hop by what the handler was asked."""

import re
import sys
import threading
from concurrent import futures

import grpc

import peerapp
from echo import DEADLINE, base, details, filler, reply_of

PORT = int(sys.argv[1])
HOP = "127.0.0.1:%d" % PORT
TOKEN = re.compile(rb"tk[0-9a-z-]{4,60}_")


def token_of(data):
    return TOKEN.search(data).group().decode()


def log(token, method, code=0, replies=True, call_type="unary", flags_allowed=(), **more):
    peerapp.line(token, reply_of(token) if replies else None, {**base(method, code, call_type=call_type), **more},
                 hop=HOP, flags_allowed=list(flags_allowed))


def meta_token(context):
    return dict(context.invocation_metadata())["x-token"]


def unary(request, context):
    token = token_of(request)
    log(token, "Unary")
    return request.replace(token.encode(), reply_of(token).encode())


def gzip(request, context):
    token = token_of(request)
    log(token, "Gzip", flags=["compressed"])
    context.set_compression(grpc.Compression.Gzip)
    return request.replace(token.encode(), reply_of(token).encode())


def meta(request, context):
    token = token_of(request)
    log(token, "Meta", **{"response.headers.x-first": "a " + reply_of(token),
                          "response.trailers.x-last": "z " + reply_of(token),
                          "request.headers.x-token": token})
    context.send_initial_metadata((("x-first", "a " + reply_of(token)),))
    context.set_trailing_metadata((("x-last", "z " + reply_of(token)), ("x-last-bin", bytes(range(40)))))
    return reply_of(token).encode()


def empty(request, context):
    token = meta_token(context)
    log(token, "Empty")
    context.set_trailing_metadata((("x-reply", reply_of(token)),))
    return b""


def server_stream(request, context):
    token = token_of(request)
    log(token, "ServerStream", call_type="server_stream")
    for i in range(5):
        yield b"%d %s" % (i, reply_of(token).encode())


def client_stream(requests, context):
    got = list(requests)
    token = token_of(got[0])
    log(token, "ClientStream", call_type="client_stream")
    return b"%d %s" % (len(got), reply_of(token).encode())


def bidi(requests, context):
    first = True
    for r in requests:
        token = token_of(r)
        if first:
            log(token, "Bidi", call_type="bidi_stream")
        first = False
        yield r.replace(token.encode(), reply_of(token).encode())


def one_each(requests, context):
    """A streaming method by its name, one message each way on the wire."""
    got = list(requests)
    token = token_of(got[0])
    log(token, "OneEach")
    yield reply_of(token).encode()


def fail(request, context):
    code, token = int(request.split(b" ")[0]), token_of(request)
    log(token, "Fail", code, status_text=details(token, code))
    context.abort(list(grpc.StatusCode)[code], details(token, code))


def fail_late(request, context):
    """Messages first, the status behind them."""
    code, token = int(request.split(b" ")[0]), token_of(request)
    log(token, "FailLate", code, call_type="server_stream", status_text=details(token, code))
    yield b"one " + reply_of(token).encode()
    yield b"two"
    context.abort(list(grpc.StatusCode)[code], details(token, code))


def wait_end(context):
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait(20)


def deadline(request, context):
    log(token_of(request), "Deadline", replies=False, flags_allowed=["no_response"], **DEADLINE)
    wait_end(context)
    return b""


def cancel(request, context):
    token = token_of(request)
    log(token, "Cancel", call_type={"any": ["server_stream", "unary"]}, outcome="ABORTED")
    yield b"one " + reply_of(token).encode()
    yield b"two"
    wait_end(context)


def large(request, context):
    token = token_of(request)
    log(token, "Large", flags=["truncated"] if len(request) > 1 << 20 else [],
        **{"request.body_bytes": len(request), "response.body_bytes": len(request)})
    return filler(reply_of(token), len(request))


def large_stream(request, context):
    token = token_of(request)
    log(token, "LargeStream", call_type="server_stream")
    for i in range(6):
        yield filler(reply_of(token) if i == 0 else str(i), 300_000)


UNARY, OUT, IN, BOTH = (grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler,
                        grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler)
METHODS = {"Unary": UNARY(unary), "Gzip": UNARY(gzip), "Meta": UNARY(meta), "Empty": UNARY(empty),
           "ServerStream": OUT(server_stream), "ClientStream": IN(client_stream), "Bidi": BOTH(bidi),
           "OneEach": BOTH(one_each), "Fail": UNARY(fail), "FailLate": OUT(fail_late),
           "Deadline": UNARY(deadline), "Cancel": OUT(cancel), "Large": UNARY(large),
           "LargeStream": OUT(large_stream)}


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        name = call.method.rpartition("/")[2]
        if name not in METHODS:
            token = dict(call.invocation_metadata)["x-token"]
            log(token, name, 12, replies=False)
        return METHODS.get(name)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=[Echo()], compression=None,
                         options=[("grpc.so_reuseport", 0)])
    server.add_insecure_port(HOP)
    server.start()
    server.wait_for_termination()


main()
