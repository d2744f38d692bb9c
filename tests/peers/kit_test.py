#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The judge of tests/peers judged: each way of being wrong must be found, and what may be unknown must pass."""

import base64
import copy
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from kit import match  # noqa: E402
from kit.capture import Failure  # noqa: E402

HOP = "127.0.0.1:9080"


def b64(data):
    return base64.b64encode(data).decode()


def line(n):
    token, reply = "tk0001-000%d_" % n, "rp0001-000%d_" % n
    return {"token": token, "reply_token": reply, "hop": HOP, "stream": {"request": [3, 4]},
            "request_body": b64(b"ask " + token.encode()), "response_body": b64(reply.encode()),
            "expect": {"protocol": {"any": ["http2", "thrift"]}, "method": "GET", "path": "/p?" + token,
                       "status_code": 200, "outcome": "OK", "attributes.kind": "a",
                       "request.headers.x-n": str(n), "call_type": "unary"}}


def record(n):
    x = line(n)
    return {"id": "I-1:%d" % n, "connection_id": "I-1", "sequence": n, "record_number": n,
            "server": HOP, "client": "127.0.0.1:4000", "protocol": "http2", "method": "GET",
            "path": "/p?" + x["token"], "status_code": 200, "outcome": "OK", "call_type": "unary",
            "attributes": {"kind": "a"},
            "request": {"body_base64": x["request_body"], "headers": [
                {"name": "X-N", "value": str(n), "provenance": "LITERAL"}]},
            "response": {"body_base64": x["response_body"]},
            "stream": [{"direction": "REQUEST", "body_bytes": size} for size in (3, 4)]}


def swapped(r):
    r[0]["response"], r[1]["response"] = r[1]["response"], r[0]["response"]


def change(**fields):
    return lambda r: r[0].update(fields)


def drop(r):
    """The last: numbers stay without a hole."""
    r.pop()


def twice(r):
    r.append(dict(copy.deepcopy(r[0]), id="I-1:3", sequence=3, record_number=3))


def nobodys(r):
    r.append(dict(copy.deepcopy(r[0]), id="I-1:3", sequence=3, record_number=3, path="/other",
                  request={}, response={}))


def unknown_path(r):
    """The path is lost, and said to be; the body still carries the token."""
    r[0].update(path="", attributes={"kind": "a", "unknown": "path"}, flags=["late_join"])


def by_order(protocol, flags):
    def change_all(r):
        swapped(r)
        for x in r:
            x.update(protocol=protocol, flags=flags)
    return change_all


# name: (mutation of two right records, found when strict, found when late)
CASES = {
    "nothing": (lambda r: None, False, False),
    "swapped_replies": (swapped, True, True),
    "swapped_replies_marked_late": (by_order("http2", ["late_join"]), True, True),
    "swapped_replies_by_order": (by_order("thrift", ["late_join"]), True, False),
    "by_order_and_wrong_method": (lambda r: (by_order("thrift", ["late_join"])(r), r[0].update(
        method="PUT")), True, True),
    "reply_without_token": (change(response={}), True, True),
    "no_record": (drop, True, False),
    "two_records": (twice, True, True),
    "nobodys_record": (nobodys, True, True),
    "other_hop": (change(server="127.0.0.1:4000", client=HOP), True, True),
    "wrong_method": (change(method="PUT"), True, True),
    "wrong_method_marked": (change(method="PUT", flags=["late_join"], attributes={
        "kind": "a", "unknown": "method"}), True, True),
    "method_unknown_unsaid": (change(method="", flags=["late_join"]), True, True),
    "path_unknown_said": (unknown_path, True, False),
    "wrong_status": (change(status_code=0), True, True),
    "outcome_unknown_unmarked": (change(outcome="UNKNOWN"), True, True),
    "outcome_unknown_marked": (change(outcome="UNKNOWN", flags=["gap"]), True, False),
    "status_with_unknown_outcome": (change(status_code=0, outcome="UNKNOWN", attributes={
        "kind": "a", "unknown": "outcome"}), True, False),
    "status_with_an_outcome": (change(status_code=0, attributes={
        "kind": "a", "unknown": "outcome"}), True, True),
    "wrong_attribute": (change(attributes={"kind": "b"}), True, True),
    "attribute_not_seen": (change(attributes={}), True, False),
    "flag": (change(flags=["protocol_error"]), True, False),
    "flag_of_no_late_join": (change(flags=["compressed"]), True, True),
    "wrong_request_body": (change(request=dict(record(1)["request"], body_base64=b64(
        b"tk0001-0001_"))), True, True),
    "wrong_header": (change(request=dict(record(1)["request"], headers=[
        {"name": "x-n", "value": "7", "provenance": "LITERAL"}])), True, True),
    "header_missing": (change(request=dict(record(1)["request"], headers=[])), True, True),
    "header_of_unknown_name": (change(request=dict(record(1)["request"], headers=[
        {"name": "", "value": "1", "provenance": "UNKNOWN"}])), True, False),
    "wrong_stream": (change(stream=[]), True, True),
}


def found(mode, records):
    lines = [line(1), line(2)]
    try:
        mode(lines, records)
        return None
    except Failure as e:
        return str(e)


def main():
    failed = 0
    for name, (mutate, strict, late) in CASES.items():
        for mode, wanted in ((match.strict, strict), (match.late, late)):
            records = [record(1), record(2)]
            mutate(records)
            why = found(mode, records)
            right = bool(why) == wanted
            failed += not right
            print("%s kit_%s_%s%s" % ("ok" if right else "not ok", mode.__name__, name,
                                      "" if right else ": %s" % (why or "not found")))
    print("%d passed, %d failed" % (2 * len(CASES) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
