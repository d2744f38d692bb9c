# SPDX-License-Identifier: Apache-2.0
"""
The A/B sidecar's gRPC side (grpcio). It logs each call as it saw it.

  ab_grpc.py PORT
"""

import re
import sys
from concurrent import futures

import grpc

import peerapp
from service import METHOD, SERVICE


def assign(request, context):
    token = re.search(rb"tk[0-9a-z-]+_", request).group().decode()
    reply = "rp" + token[2:]
    body = b"variant b for " + reply.encode()
    address = "127.0.0.1:" + sys.argv[1]
    peerapp.line(token, reply, {
        "protocol": "grpc", "service": SERVICE, "method": METHOD,
        "path": "/%s/%s" % (SERVICE, METHOD), "call_type": "unary", "status_code": 0,
        "outcome": "OK", "server": address, "client": context.peer().replace("ipv4:", "")},
        hop=address, request_body=request, response_body=body)
    return body


def main():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(assign)})])
    server.add_insecure_port("127.0.0.1:" + sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
