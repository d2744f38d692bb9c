# SPDX-License-Identifier: Apache-2.0
"""
An HTTP service (Hypercorn: HTTP/1.1, h2c with prior knowledge, Upgrade: h2c). It answers the token "tk..."
of a call with "rp..." in the body, and logs its own hop as it saw it.

  echo_service.py PORT
  /status/CODE answers with that status; /chunks in several pieces; /echo with the body
"""

import asyncio
import sys

import hypercorn.asyncio
from hypercorn.config import Config

import peerapp

OUTCOME = {2: "OK", 3: "OK", 4: "CLIENT_ERROR", 5: "SERVER_ERROR"}


def header(scope, name):
    return next((v.decode("latin-1") for n, v in scope["headers"] if n.lower() == name), "")


def token_of(scope):
    for part in scope["query_string"].decode("latin-1").split("&"):
        if part.startswith("token="):
            return part[6:]
    return header(scope, b"x-token")


async def read_body(receive):
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body


def answer(path, token, body):
    """(status, pieces)"""
    reply = ("rp%s " % token[2:]).encode()
    if path.startswith("/status/"):
        code = int(path.rpartition("/")[2])
        return code, [] if code in (204, 304) else [reply]
    if path.startswith("/chunks"):
        return 200, [reply] + [b"%d " % n * 50 for n in range(5)]
    return 200, [reply + body]


def log(scope, token, status, body, response):
    path = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        path += "?" + scope["query_string"].decode("latin-1")
    address = ["%s:%s" % tuple(scope[end][:2]) for end in ("client", "server")]
    peerapp.line(token, "rp" + token[2:], {
        "protocol": "http2" if scope["http_version"] == "2" else "http1", "call_type": "unary",
        "method": scope["method"], "path": path, "service": header(scope, b"host"),
        "status_code": status, "outcome": OUTCOME[status // 100], "client": address[0],
        "server": address[1]}, hop=address[1], request_body=body, response_body=response)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = await read_body(receive)
    token = token_of(scope)
    if body is None or not token:
        return
    status, pieces = answer(scope["path"], token, body)
    if scope["method"] == "HEAD":
        pieces = []
    log(scope, token, status, body, b"".join(pieces))
    headers = [(b"x-reply", ("rp" + token[2:]).encode())]
    if not scope["path"].startswith("/chunks") and status not in (204, 304):
        headers.append((b"content-length", str(sum(map(len, pieces))).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def main():
    config = Config()
    config.bind = ["127.0.0.1:" + sys.argv[1]]
    config.keep_alive_timeout = 600
    config.errorlog = "-"
    asyncio.run(hypercorn.asyncio.serve(app, config))


if __name__ == "__main__":
    main()
