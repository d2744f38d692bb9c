# SPDX-License-Identifier: Apache-2.0
"""
The caller: it asks its own daprd, which asks the shop's; and the shop's daprd for state and events. It logs the
hops to both daprds and the one between them; the shop logs its own.

  front.py http|grpc FRONT SHOP INTERNAL APP       the ports
"""

import http.client
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import peerapp

HOST = "127.0.0.1:"
KIND, FRONT, SHOP, INTERNAL, APP = sys.argv[1:]
INTERNALS = "dapr.proto.internals.v1.ServiceInvocation"
PAD = 10 if "PEER_GOLDEN" in os.environ else 5000
CODES = {204: "OK", 200: "OK", 404: "CLIENT_ERROR", 500: "SERVER_ERROR"}
local = threading.local()


def reply_of(token):
    return "rp" + token[2:]


def await_event(token):
    """The event reached the shop: its line is in the log."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with open(os.environ["PEER_LOG"], encoding="utf-8") as f:
            if any(token in line and HOST + APP in line for line in f):
                return
        time.sleep(0.01)
    raise AssertionError("the event %s did not arrive" % token)


def log_between(token):
    """From one daprd to the other: the application's status is inside."""
    peerapp.line(token, reply_of(token), {
        "protocol": "grpc", "service": INTERNALS, "method": {"any": ["CallLocal", "CallLocalStream"]}},
        hop=HOST + INTERNAL)


# --- HTTP

def request(port, method, path, body=None):
    """On a connection of this thread's."""
    pool = local.__dict__.setdefault("connections", {})
    connection = pool.setdefault(port, http.client.HTTPConnection("127.0.0.1", int(port)))
    connection.request(method, path, body, {"content-type": "application/json"} if body else {})
    r = connection.getresponse()
    return r.status, r.read()


def asked(port, method, path, body, token, reply, status):
    seen, answer = request(port, method, path, body)
    if seen != status or (reply and reply.encode() not in answer):
        raise AssertionError("%s %s: %d %r" % (method, path, seen, answer))
    peerapp.line(token, reply, {
        "protocol": "http1", "service": HOST + port, "method": method, "path": path,
        "call_type": "unary", "status_code": status, "outcome": CODES[status]}, hop=HOST + port,
        request_body=body or b"", response_body=answer)


def body_of(token):
    return json.dumps({"order": token, "pad": "x" * PAD}).encode()


def http_invoke(method, status):
    token = peerapp.new_token()
    asked(FRONT, "POST", "/v1.0/invoke/shop/method/" + method, body_of(token), token, reply_of(token),
          status)
    log_between(token)


def http_state():
    token = peerapp.new_token()
    asked(SHOP, "POST", "/v1.0/state/store", json.dumps([{"key": "k-" + token, "value": reply_of(
        token)}]).encode(), token, None, 204)
    again = peerapp.new_token()
    asked(SHOP, "GET", "/v1.0/state/store/k-%s?for=%s" % (token[2:], again), None, again, None, 204)


def http_publish():
    token = peerapp.new_token()
    asked(SHOP, "POST", "/v1.0/publish/bus/orders", body_of(token), token, None, 204)
    await_event(token)


# --- gRPC

def grpc_calls():
    import grpc
    import wire

    def channel(port):
        return grpc.insecure_channel(HOST + port)

    channels = {port: channel(port) for port in (FRONT, SHOP)}

    def call(port, method, message, token, reply, code=grpc.StatusCode.OK, outcome="OK", text=None):
        path = wire.RUNTIME + "Dapr/" + method
        ask = channels[port].unary_unary(path, wire.raw, wire.raw)
        seen, answer = grpc.StatusCode.OK, None
        try:
            answer = ask(message, timeout=20)
        except grpc.RpcError as e:
            seen = e.code()
        if seen != code or (reply and answer is not None and reply.encode() not in answer):
            raise AssertionError("%s: %s %r" % (method, seen, answer))
        peerapp.line(token, reply, {
            "protocol": "grpc", "service": "dapr.proto.runtime.v1.Dapr", "method": method,
            "path": path, "call_type": "unary", "status_code": code.value[0], "outcome": outcome,
            **({"status_text": text} if text else {})}, hop=HOST + port, request_body=message,
            response_body=answer)

    def invoke(method, *status):
        token = peerapp.new_token()
        message = wire.field(1, method) + wire.field(2, wire.any_of("look at " + token + "x" * PAD))
        call(FRONT, "InvokeService", wire.field(1, "shop") + wire.field(3, message + wire.field(
            3, "text/plain")), token, reply_of(token), *status)
        log_between(token)

    def state():
        token = peerapp.new_token()
        item = wire.field(1, "k-" + token) + wire.field(2, reply_of(token))
        call(SHOP, "SaveState", wire.field(1, "store") + wire.field(2, item), token, None)

    def publish():
        token = peerapp.new_token()
        call(SHOP, "PublishEvent", wire.field(1, "bus") + wire.field(2, "orders") + wire.field(
            3, "order " + token) + wire.field(4, "text/plain"), token, None)
        await_event(token)

    return [lambda: invoke("look")] * 3 + [
        lambda: invoke("nothing", grpc.StatusCode.NOT_FOUND, "CLIENT_ERROR"), state, publish]


def http_calls():
    return [lambda: http_invoke("look", 200)] * 3 + [
        lambda: http_invoke("fail", 500), lambda: http_invoke("nothing", 404), http_state, http_publish]


CALLS = http_calls() if KIND == "http" else grpc_calls()
with ThreadPoolExecutor(len(CALLS)) as pool:
    peerapp.rounds(lambda: [f.result() for f in [pool.submit(c) for c in CALLS]])
