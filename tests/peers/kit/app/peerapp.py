# SPDX-License-Identifier: Apache-2.0
"""For applications in Python: tokens, the log, the rounds of a client. Other languages write the same."""

import base64
import itertools
import json
import os
import sys
import threading

_numbers = itertools.count(1)
_lock = threading.Lock()
_log = os.open(os.environ["PEER_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def new_token(kind="tk"):
    """Unique in the run; kind "rp" for one that only the reply carries."""
    with _lock:
        return "%s%05x-%04d_" % (kind, os.getpid(), next(_numbers))


def line(token, reply_token=None, expect=None, hop=None, stream=None, request_body=None,
         response_body=None, **more):
    """Appends one line, whole: a single write to a file opened with O_APPEND."""
    out = {"token": token, "reply_token": reply_token, "expect": expect or {}, **more}
    for key, value in (("hop", hop), ("stream", stream)):
        if value is not None:
            out[key] = value
    for key, value in (("request_body", request_body), ("response_body", response_body)):
        if value is not None:
            out[key] = base64.b64encode(value).decode()
    os.write(_log, (json.dumps(out) + "\n").encode())


def rounds(function):
    """Calls function() for each line of stdin, and says done after each; returns at the end of stdin."""
    for _ in sys.stdin:
        function()
        print("done", flush=True)
