# SPDX-License-Identifier: Apache-2.0
"""The service behind its daprd, by HTTP. shop_http.py PORT"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import peerapp

SUBSCRIPTIONS = [{"pubsubname": "bus", "topic": "orders", "route": "/orders"}]
STATUS = {"/fail": (500, "SERVER_ERROR"), "/nothing": (404, "CLIENT_ERROR")}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, json.dumps(SUBSCRIPTIONS if self.path == "/dapr/subscribe" else {}).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        token = re.search(rb"tk[0-9a-z-]{4,60}_", body).group().decode()
        reply = "rp" + token[2:]
        status, outcome = STATUS.get(self.path, (200, "OK"))
        # daprd reads the status of an event's answer: RETRY, DROP, or else done
        answer = json.dumps({"status": "SUCCESS", "for": reply}).encode()
        more = {}
        if self.path != "/orders":
            more = {"request.headers.dapr-callee-app-id": "shop",
                    "request.headers.dapr-caller-app-id": "front"}
        peerapp.line(token, reply, {
            "protocol": "http1", "service": self.headers["host"], "method": "POST", "path": self.path,
            "call_type": "unary", "status_code": status, "outcome": outcome, **more},
            hop="127.0.0.1:%s" % sys.argv[1], request_body=body, response_body=answer)
        self.answer(status, answer, x_reply=reply)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
