# SPDX-License-Identifier: Apache-2.0
"""
Command line clients of echo_service.py; each round is a new run of the tool. It logs the hop that it dials.

  http_tools.py PORT PROTOCOL SCHEME     SCHEME: a key of TOOLS; PROTOCOL: what its connections end up with
"""

import os
import subprocess
import sys

import peerapp

GOLDEN = "PEER_GOLDEN" in os.environ
BODY = bytes(n & 127 for n in range(700))


def h2load(urls, body):
    """Interleaves up to eight streams; urls come from a file."""
    with open("urls", "w", encoding="utf-8") as f:
        f.write("\n".join(urls) + "\n")
    return ["h2load", "-i", "urls", "-c", "1", "-m", "8", "-n", str(len(urls)),
            *(["-d", body] if body else [])]


def shown(*argv):
    """A tool that prints the replies; of several urls."""
    return lambda urls, body: [*argv, *urls]


def curl_parallel(urls, body):
    """One connection for each."""
    return ["curl", "-sS", "-Z", "--parallel-immediate", "--http2-prior-knowledge", *urls]


# name: (argv of urls and body file, urls, whether stdout shows the replies, body)
TOOLS = {
    "h2load": (h2load, 24 if GOLDEN else 60, False, b""),
    "h2load_post": (h2load, 12 if GOLDEN else 40, False, BODY),
    "nghttp": (shown("nghttp", "-b", "40", "--continuation"), 2 if GOLDEN else 6, True, b""),
    "nghttp_small_table": (shown("nghttp", "--header-table-size=256",
                                 "--encoder-header-table-size=256"), 6, True, b""),
    "nghttp_upgrade": (shown("nghttp", "-u"), 4, True, b""),
    "curl_upgrade": (shown("curl", "-sS", "--http2"), 4, True, b""),
    "curl_parallel": (curl_parallel, 6, True, b""),
}


def run(argv):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=20, check=False)
    if r.returncode:
        sys.exit("%s ended with %d: %s" % (argv[0], r.returncode, r.stdout[-300:]))
    return r.stdout


def check_output(out, tokens, shows):
    """Every call had a whole reply, by what the tool says itself."""
    if shows:
        missing = [t for t in tokens if ("rp" + t[2:]).encode() not in out]
        if missing:
            sys.exit("no reply to %s in: %s" % (missing[:3], out[-300:]))
    elif b"%d succeeded, 0 failed, 0 errored" % len(tokens) not in out:
        sys.exit("not all succeeded: %s" % out[-600:])


def round_of(port, protocol, name):
    make, count, shows, body = TOOLS[name]
    tokens = [peerapp.new_token() for _ in range(count)]
    dialled = "127.0.0.1:" + port
    paths = ["/echo?token=" + t for t in tokens]
    with open("body", "wb") as f:
        f.write(body)
    check_output(run(make(["http://" + dialled + p for p in paths], body and "body")), tokens, shows)
    for token, path in zip(tokens, paths):
        reply = "rp" + token[2:]
        peerapp.line(token, reply, {
            "protocol": protocol, "call_type": "unary", "method": "POST" if body else "GET",
            "path": path, "service": dialled, "status_code": 200, "outcome": "OK",
            "server": dialled}, hop=dialled, request_body=body,
            response_body=("%s " % reply).encode() + body)


if __name__ == "__main__":
    peerapp.rounds(lambda: round_of(*sys.argv[1:4]))
