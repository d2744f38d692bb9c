# SPDX-License-Identifier: Apache-2.0
"""Compares what the applications logged with what was recorded, one to one, field by field."""

import base64
import collections

from .capture import Failure
from .http1 import digest

OUTCOME = {1: "OK", 2: "OK", 3: "OK", 4: "CLIENT_ERROR", 5: "SERVER_ERROR"}


def body_of(message):
    if "body_base64" in message:
        return base64.b64decode(message["body_base64"])
    return message.get("body", "").encode()


def headers_of(message, key="headers"):
    out = []
    for h in message.get(key, []):
        value = h.get("value")
        if value is None:
            value = base64.b64decode(h["value_base64"]).decode("latin-1")
        out.append([h["name"], value])
    return out


def token_in(message):
    for name, value in headers_of(message):
        if name.lower() == "x-call":
            return value
    return None


def call_of(record):
    """The token by which a record is found: from its request, else from its reply."""
    if "request" in record:
        token = token_in(record["request"])
        if token:
            return token
        for part in record.get("path", "").partition("?")[2].split("&"):
            if part.startswith("call="):
                return part[5:]
    return token_in(record.get("response", {}))


def service_of(x):
    """record.md: authority of an absolute-form or CONNECT target, else Host."""
    if x["method"] == "CONNECT":
        return x["target"]
    if x["target"].startswith("http://"):
        return x["target"][7:].partition("/")[0]
    for name, value in x["request_headers"]:
        if name.lower() == "host":
            return value
    return ""


def outcome_of(x):
    if x["end"] == "noreply":
        return "NO_RESPONSE"
    if x["end"] in ("reset", "cut"):
        return "ABORTED"
    return OUTCOME[x["status"] // 100]


class Differences:
    def __init__(self):
        self.found = []

    def add(self, what, text):
        self.found.append("%s: %s" % (what, text))

    def same(self, what, field, expected, seen):
        if expected != seen:
            self.add(what, "%s is %.150r, not %.150r" % (field, seen, expected))

    def verdict(self):
        if self.found:
            more = len(self.found) - 3
            raise Failure("; ".join(self.found[:3]) + (" (and %d more)" % more if more > 0 else ""))


def check_message(d, what, side, x, message, body_limit):
    d.same(what, side + ".headers", [list(h) for h in x[side + "_headers"]], headers_of(message))
    d.same(what, side + ".trailers", x[side + "_trailers"], headers_of(message, "trailers"))
    size = x[side + "_bytes"]
    d.same(what, side + ".body_bytes", size, message.get("body_bytes", 0))
    body = body_of(message)
    if body_limit is None or size <= body_limit:
        d.same(what, side + ".body sha256", x[side + "_sha256"], digest(body))
    else:
        d.same(what, side + ".body length", body_limit, len(body))
    start, end = message.get("start_unix_ns"), message.get("end_unix_ns")
    if not start or not end or end < start:
        d.add(what, "%s times %r..%r" % (side, start, end))


def check_call(d, x, record, body_limit, flags):
    what = "call " + (x["call"] or record["id"])
    d.same(what, "protocol", "http1", record.get("protocol"))
    for field, expected in (("method", x["method"]), ("path", x["target"]),
                            ("service", service_of(x)), ("status_code", x["status"]),
                            ("client", x["client"]), ("server", x["server"]),
                            ("outcome", outcome_of(x)), ("call_type", "unary")):
        d.same(what, field, expected, record.get(field))
    over = body_limit is not None and max(x["request_bytes"], x["response_bytes"]) > body_limit
    allowed = set(flags) | ({"truncated"} if over else set())
    needed = ({"truncated"} if over else set()) | (
        {"no_response"} if x["end"] == "noreply" else set())
    extra = set(record.get("flags", [])) - allowed - needed
    if extra:
        d.add(what, "unexpected flags %s" % sorted(extra))
    if "truncated" in needed and "truncated" not in record.get("flags", []):
        d.add(what, "flag truncated missing")
    if "request" not in record:
        d.add(what, "no request")
        return
    check_message(d, what, "request", x, record["request"], body_limit)
    if x["end"] == "noreply":
        if "response" in record:
            d.add(what, "a response came from nowhere")
        return
    if "response" not in record:
        d.add(what, "no response")
        return
    d.same(what, "token of the response", x["call"], token_in(record["response"]))
    d.same(what, "status_text", x["reason"], record.get("status_text", ""))
    check_message(d, what, "response", x, record["response"], body_limit)
    interim = ",".join(str(c) for c in x["interim"])
    d.same(what, "interim", interim, record.get("attributes", {}).get("interim", ""))


def check_opaque(d, x, record):
    what = "tunnel of " + x["client"]
    d.same(what, "bytes up", x["request_bytes"], record.get("request", {}).get("body_bytes", 0))
    d.same(what, "bytes down", x["response_bytes"], record.get("response", {}).get("body_bytes", 0))
    d.same(what, "outcome", "ABORTED" if x["end"] == "reset" else "OK", record.get("outcome"))
    d.same(what, "client, server", (x["client"], x["server"]),
           (record.get("client"), record.get("server")))


def check_numbers(d, records):
    """record_number and, per connection, sequence: 1, 2, 3 ... without a hole."""
    numbers = [(r.get("capture", {}).get("instance"), r["record_number"]) for r in records]
    if len(set(numbers)) != len(numbers):
        d.add("record_number", "given twice")
    by_connection = collections.defaultdict(list)
    for r in records:
        by_connection[r["connection_id"]].append(r["sequence"])
        d.same("call " + r["id"], "id", "%s:%d" % (r["connection_id"], r["sequence"]), r["id"])
    for connection, sequence in by_connection.items():
        if sorted(sequence) != list(range(1, len(sequence) + 1)):
            d.add(connection, "sequence has holes: %.100r" % sorted(sequence))


def match(log, records, body_limit=1 << 20, flags=(), numbers=True, extra_ok=False):
    """
    Every logged exchange has exactly one record and every record an exchange. flags: what may stand
    on a record beside what its case demands. Raises Failure with the first differences.
    """
    if not log:
        raise Failure("the application logged no call: nothing was tested")
    d = Differences()
    calls, tunnels = {}, []
    for r in records:
        if r.get("protocol") == "opaque":
            tunnels.append(r)
            continue
        key = (call_of(r), r.get("server"))
        if key in calls:
            d.add("call %s" % key[0], "recorded twice")
        calls[key] = r
    for x in log:
        if x["kind"] == "opaque":
            found = [r for r in tunnels if (r.get("client"), r.get("server"))
                     == (x["client"], x["server"])]
            if len(found) != 1:
                d.add("tunnel of " + x["client"], "%d records" % len(found))
                continue
            tunnels.remove(found[0])
            check_opaque(d, x, found[0])
            continue
        r = calls.pop((x["call"], x["server"]), None)
        if r is None:
            d.add("call %s %s" % (x["call"], x["target"]), "no record at " + x["server"])
            continue
        check_call(d, x, r, body_limit, flags)
    if not extra_ok:
        for key, r in calls.items():
            d.add("record %s" % r["id"], "nobody logged it: %s %s" % (key, r.get("path")))
        for r in tunnels:
            d.add("record %s" % r["id"], "opaque, nobody logged it: %s -> %s" % (
                r.get("client"), r.get("server")))
    if numbers:
        check_numbers(d, records)
    d.verdict()


def check_record_numbers(records):
    """All record numbers 1..N of one instance are there (no call left in parts)."""
    numbers = sorted(r["record_number"] for r in records)
    if numbers != list(range(1, len(numbers) + 1)) or not numbers:
        missing = set(range(1, numbers[-1] + 1 if numbers else 2)) - set(numbers)
        raise Failure("record numbers missing: %.100r" % sorted(missing))


def match_nginx(log, records, bodies, body_limit=1 << 20):
    """
    nginx's log against the records at the same address: method, target, status, token of the reply, the
    sizes on the wire that nginx counted itself, and the body where it is known: bodies maps a path to
    its bytes.
    """
    if not log:
        raise Failure("nginx logged no call: nothing was tested")
    d = Differences()
    left = {}
    for r in records:
        left.setdefault((call_of(r), r.get("client")), []).append(r)
    for x in log:
        what = "nginx call " + x["call"]
        found = left.pop((x["call"], x["client"]), [])
        if len(found) != 1:
            d.add(what, "%d records" % len(found))
            continue
        r = found[0]
        for field, expected in (("method", x["method"]), ("path", x["target"]),
                                ("status_code", x["status"]), ("service", x["host"]),
                                ("outcome", OUTCOME[x["status"] // 100])):
            d.same(what, field, expected, r.get(field))
        d.same(what, "flags", ["truncated"] if x["response_bytes"] > body_limit else [],
               r.get("flags", []))
        d.same(what, "request.wire_bytes", x["request_wire"], r["request"]["wire_bytes"])
        d.same(what, "response.wire_bytes", x["response_wire"], r["response"]["wire_bytes"])
        d.same(what, "response.body_bytes", x["response_bytes"], r["response"].get("body_bytes", 0))
        d.same(what, "token of the response", x["call"], token_in(r["response"]))
        if x["method"] == "HEAD":
            continue
        path = x["target"].partition("?")[0]
        body = bodies.get(path.rpartition("/")[2], (x["call"] + "\n").encode())
        d.same(what, "body sha256", digest(body[:body_limit]), digest(body_of(r["response"])))
    for found in left.values():
        for r in found:
            d.add("record " + r["id"], "not in nginx's log: %s %s" % (r.get("client"), r.get("path")))
    check_numbers(d, records)
    d.verdict()


def at(records, port):
    """The records of one hop."""
    return [r for r in records if r.get("server", "").endswith(":%d" % port)]
