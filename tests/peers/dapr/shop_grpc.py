# SPDX-License-Identifier: Apache-2.0
"""The service behind its daprd, by gRPC (AppCallback). shop_grpc.py PORT"""

import re
import sys
from concurrent import futures

import grpc

import peerapp
import wire

SERVICE = "dapr.proto.runtime.v1.AppCallback"


def log(method, token, reply, status, outcome, request, response):
    peerapp.line(token, reply, {
        "protocol": "grpc", "service": SERVICE, "method": method,
        "path": "/%s/%s" % (SERVICE, method), "call_type": "unary", "status_code": status,
        "outcome": outcome}, hop="127.0.0.1:%s" % sys.argv[1], request_body=request,
        response_body=response)


def tokens(request):
    token = re.search(rb"tk[0-9a-z-]{4,60}_", request).group().decode()
    return token, "rp" + token[2:]


def on_invoke(request, context):
    token, reply = tokens(request)
    if b"nothing" in request:
        log("OnInvoke", token, reply, 5, "CLIENT_ERROR", request, None)
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing for " + reply)
    response = wire.field(1, wire.any_of("found for " + reply)) + wire.field(2, "text/plain")
    log("OnInvoke", token, reply, 0, "OK", request, response)
    return response


def on_event(request, context):
    token, _ = tokens(request)
    log("OnTopicEvent", token, None, 0, "OK", request, b"")
    return b""


def subscriptions(request, context):
    return wire.field(1, wire.field(1, "bus") + wire.field(2, "orders"))


METHODS = {"OnInvoke": on_invoke, "OnTopicEvent": on_event, "ListTopicSubscriptions": subscriptions,
           "ListInputBindings": lambda request, context: b""}
server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
    name: grpc.unary_unary_rpc_method_handler(f, wire.raw, wire.raw) for name, f in METHODS.items()})])
server.add_insecure_port("127.0.0.1:%s" % sys.argv[1])
server.start()
server.wait_for_termination()
