# SPDX-License-Identifier: Apache-2.0
"""The client: client.py PORT KINDS. One channel; each round makes all calls of the kinds once."""

import base64
import os
import sys
import time

import grpc

import peerapp
from echo import DEADLINE, base, details, filler, reply_of

PORT, KINDS = int(sys.argv[1]), sys.argv[2].split(",")
HOP = "127.0.0.1:%d" % PORT
GOLDEN = "PEER_GOLDEN" in os.environ
SMALL = GOLDEN and len(KINDS) > 1
channel = grpc.insecure_channel(HOP, options=[("grpc.enable_http_proxy", 0)])


def must(what, ok):
    if not ok:
        sys.exit("not as it should be: %s" % (what,))


def path(method):
    return "/peer.Echo/" + method


def log(token, method, code=0, reply=True, bodies=None, stream=None, call_type="unary", flags_allowed=(), **more):
    request, response = bodies or (None, None)
    peerapp.line(token, reply_of(token) if reply else None,
                 {**base(method, code, call_type=call_type), **more}, hop=HOP, stream=stream,
                 request_body=request, response_body=response, flags_allowed=list(flags_allowed))


def sizes(messages):
    return [len(m) for m in messages]


# ---- unary

def unary():
    call = channel.unary_unary(path("Unary"))
    sent = []
    for n in (40, 100) if SMALL else (40, 100, 1000, 40, 3000, 64, 65, 66):
        token = peerapp.new_token()
        body = filler(token, n if not GOLDEN else min(n, 200))
        sent.append((token, body, call.future(body, metadata=(("x-token", token),), timeout=20)))
    for token, body, future in sent:
        reply = future.result()
        must("echo", reply == body.replace(token.encode(), reply_of(token).encode()))
        log(token, "Unary", bodies=(body, reply),
            **{"request.headers.x-token": token, "response.trailers.grpc-status": "0",
               "request.headers.content-type": "application/grpc", "request.headers.te": "trailers"})


def compressed():
    token = peerapp.new_token()
    body = (token * 20).encode()
    reply = channel.unary_unary(path("Gzip"))(body, compression=grpc.Compression.Gzip, timeout=20)
    must("gzip", reply == body.replace(token.encode(), reply_of(token).encode()))
    log(token, "Gzip", flags=["compressed"], **{"request.headers.grpc-encoding": "gzip"})


def metadata():
    token = peerapp.new_token()
    data = bytes(range(256)) if not GOLDEN else b"\0\1\2"
    reply, call = channel.unary_unary(path("Meta")).with_call(
        token.encode(), timeout=20, metadata=(("x-token", token), ("x-data-bin", data), ("x-twice", "a"),
                                              ("x-twice", "b")))
    trailing = dict(call.trailing_metadata())
    must("metadata", trailing["x-last-bin"] == bytes(range(40)))
    log(token, "Meta", bodies=(token.encode(), reply),
        **{"response.headers.x-first": "a " + reply_of(token), "response.trailers.x-last": "z " + reply_of(token),
           "request.headers.x-token": token, "request.headers.x-twice": {"any": [["a", "b"], "a,b"]}})


def empty():
    token = peerapp.new_token()
    channel.unary_unary(path("Empty"))(b"", metadata=(("x-token", token),), timeout=20)
    log(token, "Empty", bodies=(b"", b""))


# ---- streams

def server_stream():
    token = peerapp.new_token()
    got = list(channel.unary_stream(path("ServerStream"))(token.encode(), timeout=20))
    must("server stream", len(got) == 5)
    log(token, "ServerStream", call_type="server_stream",
        stream={"request": [len(token)], "response": sizes(got)})


def client_stream():
    token = peerapp.new_token()
    out = [token.encode()] + [b"m" * n for n in (0, 1, 500)]
    channel.stream_unary(path("ClientStream"))(iter(out), timeout=20)
    log(token, "ClientStream", call_type="client_stream",
        stream={"request": sizes(out), "response": [len("4 " + token)]})


def bidi():
    token = peerapp.new_token()
    out = [b"%d %s" % (i, token.encode()) for i in range(4)]
    got = []

    def ask():  # one after the other, as in a conversation
        for i, m in enumerate(out):
            while len(got) < i:
                time.sleep(0.001)
            yield m

    for m in channel.stream_stream(path("Bidi"))(ask(), timeout=20):
        got.append(m)
    must("bidi", len(got) == 4)
    log(token, "Bidi", call_type="bidi_stream", stream={"request": sizes(out), "response": sizes(got)})


def one_each():
    token = peerapp.new_token()
    got = list(channel.stream_stream(path("OneEach"))(iter([token.encode()]), timeout=20))
    log(token, "OneEach", bodies=(token.encode(), got[0]))


# ---- errors

def fail(code, method="Fail"):
    token = peerapp.new_token()
    body = b"%d %s" % (code, token.encode())
    try:
        if method == "Fail":
            channel.unary_unary(path(method))(body, timeout=20)
        else:
            list(channel.unary_stream(path(method))(body, timeout=20))
        must("no error", False)
    except grpc.RpcError as e:
        must(e, e.code().value[0] == code and e.details() == details(token, code))
    more = {} if method == "Fail" else {"call_type": "server_stream",
                                        "response.trailers.grpc-status": str(code)}
    log(token, method, code, status_text=details(token, code), **more)


def unimplemented():
    token = peerapp.new_token()
    try:
        channel.unary_unary(path("Missing"))(token.encode(), metadata=(("x-token", token),), timeout=20)
    except grpc.RpcError as e:
        must(e, e.code() == grpc.StatusCode.UNIMPLEMENTED)
    log(token, "Missing", 12, reply=False)


# ---- cut

def deadline():
    token = peerapp.new_token()
    try:
        channel.unary_unary(path("Deadline"))(token.encode(), timeout=0.1)
        must("no deadline", False)
    except grpc.RpcError as e:
        must(e, e.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
    log(token, "Deadline", reply=False, flags_allowed=["no_response"], **DEADLINE)


def cancel():
    token = peerapp.new_token()
    call = channel.unary_stream(path("Cancel"))(token.encode(), timeout=20)
    must("cancel", next(call).startswith(b"one") and next(call) == b"two")
    call.cancel()
    log(token, "Cancel", call_type="server_stream", outcome="ABORTED",
        stream={"request": [len(token)], "response": [len("one " + token), 3]},
        **{"attributes.rst_code": "8", "attributes.rst_by": "client"})


# ---- large

def large():
    for n in (70_000, 700_000, 1_000_000, 3_000_000):
        token = peerapp.new_token()
        body = filler(token, n)
        reply = channel.unary_unary(path("Large"))(body, timeout=20)
        must("large", reply == filler(reply_of(token), n))
        cut = n > 1 << 20
        log(token, "Large", bodies=(body[:1 << 20], reply[:1 << 20]), flags=["truncated"] if cut else [],
            **{"request.body_bytes": n, "response.body_bytes": n})
    token = peerapp.new_token()
    got = list(channel.unary_stream(path("LargeStream"))(token.encode(), timeout=20))
    log(token, "LargeStream", call_type="server_stream", stream={"request": [len(token)], "response": sizes(got)})


ALL = {
    "unary": [unary, compressed, metadata, empty, unary],
    "plain": [unary, metadata, empty],
    "streams": [server_stream, client_stream, bidi, one_each],
    "errors": [lambda code=code: fail(code) for code in ((5, 13) if SMALL else range(1, 17))]
    + [lambda code=code: fail(code, "FailLate") for code in (() if SMALL else (1, 2, 5, 13, 14, 16))] + [unimplemented],
    "cut": [cancel, deadline, unary],
    "large": [large],
}


def all_kinds():
    for kind in KINDS:
        for function in ALL[kind]:
            function()


grpc.channel_ready_future(channel).result(20)
peerapp.rounds(all_kinds)
channel.close()
