# SPDX-License-Identifier: Apache-2.0
"""
The applications' lines against the records, one to one. Strict: everything was seen from the first byte.
Late: each record is right, or says by docs/record.md what it does not know.
"""

import base64
import re
import zlib

from . import oracle
from .capture import Failure

# "tk": in the request (and where the reply repeats it); "rp": only in the reply. Ends with "_", so that
# none is the beginning of another; what stands before it does not matter.
TOKEN = re.compile(rb"(?:tk|rp)[0-9a-z-]{4,60}_")
# Flags of a record that does not hold the whole call.
PARTIAL = {"gap", "orphan_response", "no_response", "truncated", "protocol_error", "capture_ended",
           "part_missing", "timeout", "evicted", "smuggling_suspect"}
LATE = PARTIAL | {"late_join"}
# Without ids: order alone pairs a reply on a connection joined late (docs/record.md).
BY_ORDER = {"http1", "thrift", "theader", "kitex_protobuf"}


def inflated(body):
    """A body in gzip or zlib form is searched inside too, within a bound."""
    for start, bits in ((b"\x1f\x8b", 31), (b"\x78", 15)):
        at = body.find(start, 0, 64)
        if at >= 0:
            try:
                return zlib.decompressobj(bits).decompress(body[at:], 1 << 20)
            except zlib.error:
                continue
    return b""


def message_text(message):
    parts = []
    for key in ("headers", "trailers"):
        for name, value in oracle.headers_of(message, key):
            parts += [name.encode("latin-1", "replace"), value.encode("latin-1", "replace")]
    body = oracle.body_of(message)
    return b"\0".join(parts + [body, inflated(body)])


def tokens(record, side):
    """The tokens that a record's request or response carries."""
    parts = [message_text(record[side])] if side in record else []
    names = ("path", "method", "service") if side == "request" else ("status_text",)
    parts += [str(record.get(name, "")).encode() for name in names]
    for m in record.get("stream", []):
        if m["direction"].lower() == side:
            body = oracle.body_of(m)
            parts += [body, inflated(body)]
    return {t.decode() for t in TOKEN.findall(b"\0".join(parts))}


def lookup(record, key):
    """A value by its dotted name: "outcome", "attributes.biz_status", "request.headers.NAME"."""
    at, rest = record, key.split(".")
    while rest:
        if isinstance(at, list):
            name = ".".join(rest).lower()
            values = [v for n, v in oracle.headers_of({"headers": at}) if n.lower() == name]
            return values[0] if len(values) == 1 else values or None
        if not isinstance(at, dict):
            return None
        at, rest = at.get(rest[0]), rest[1:]
    return at


def equal(want, seen):
    """null: absent or empty. {"any": [...]}: one of them. 0 and "" equal absent: export omits them."""
    if isinstance(want, dict) and set(want) == {"any"}:
        return any(equal(w, seen) for w in want["any"])
    if want in (None, "", 0, []):
        return seen in (None, "", 0, [])
    return want == seen


def is_request(key):
    """Does this field come from the request alone?"""
    return key.partition(".")[0] in ("protocol", "transport", "service", "method", "path", "request",
                                     "client", "server")


def names_unknown(record):
    """The fields that a record says it could not know."""
    return set(record.get("attributes", {}).get("unknown", "").split(",")) - {""}


def upgrade_unanswered(record):
    """Asked for h2c in HTTP/1, and the answer is lost: as it was sent."""
    return record.get("protocol") == "http1" and "gap" in record.get("flags", []) and (
        "response" not in record and lookup(record, "request.headers.upgrade") == "h2c")


def may_be_unknown(record, key, seen):
    """A late record may leave this field open, if it says so."""
    flags = set(record.get("flags", []))
    unknown = names_unknown(record)
    if key == "call_type" and "protocol" in unknown:
        return True
    if key == "outcome":
        return seen == "UNKNOWN" and bool(flags & LATE or {"status_code", "outcome"} & unknown)
    if key == "call_type":
        return (seen == "stream" and bool(flags & LATE)) or key in unknown
    if key in ("protocol", "transport"):
        return key in unknown or (key == "protocol" and upgrade_unanswered(record))
    if key == "status_text" and not seen:
        return bool({"status_code", "outcome"} & unknown or flags & PARTIAL)
    if key in ("request.body_bytes", "response.body_bytes"):
        return "protocol" in unknown or bool(flags & PARTIAL)
    if key.startswith(("request.headers.", "response.headers.", "request.trailers.",
                       "response.trailers.")):
        side, what, _ = key.split(".", 2)
        headers = record.get(side, {}).get(what, [])
        # A block whose :status is unknown may be a 1xx: its fields are not told.
        withheld = side == "response" and "status_code" in unknown and not headers
        return seen is None and (bool(flags & PARTIAL) or withheld or any(
            h.get("provenance") == "UNKNOWN" for h in headers))
    if seen not in (None, "", 0):
        return False
    if key == "status_code" and record.get("outcome") == "UNKNOWN":
        return may_be_unknown(record, "outcome", "UNKNOWN")  # 0 also when none was seen
    if key.startswith("attributes."):  # what would tell it was not seen
        return True
    return key.partition(".")[0] in unknown or bool(flags & PARTIAL)


class Match:
    def __init__(self, lines, records, extra=None, late=False, mark=0):
        """mark: lines from this number on were made after the attach."""
        self.lines, self.records, self.late, self.mark = lines, records, late, mark
        self.extra = extra or (lambda record: None)
        self.d = oracle.Differences()
        self.found = {}  # number of a line: its records
        self.whole = set()  # numbers of lines whose record is right in every field
        self.unproven = 0  # pairs by order alone, marked so
        self.by_token, self.by_reply = {}, {}
        for n, x in enumerate(lines):
            self.by_token.setdefault(x["token"], []).append(n)
            for t in {x["token"], x.get("reply_token") or x["token"]}:
                self.by_reply.setdefault(t, []).append(n)
            if len(TOKEN.findall(x["token"].encode())) != 1:
                raise Failure("the log's token %r has not the form of one" % x["token"])

    def at_hop(self, numbers, record):
        return [n for n in numbers if self.lines[n].get("hop") in (None, record.get("server"))]

    def find(self, record):
        """The lines of a record by its request (several: both ends logged the hop); none: nobody's."""
        seen = {t for t in tokens(record, "request") if t in self.by_token}
        if len(seen) > 1:
            self.d.add("record " + record["id"], "its request carries several tokens: %s" % sorted(
                seen)[:3])
        return self.at_hop([n for t in sorted(seen)[:1] for n in self.by_token[t]], record)

    # --- one record

    def check_reply(self, what, x, record):
        """False: the reply is another's, which only a late pair by order may be."""
        here = tokens(record, "response")
        wanted = x.get("reply_token")
        foreign = here - {wanted, x["token"]}
        if not foreign and (wanted is None or wanted in here or x.get("optional")):
            return True
        flags = set(record.get("flags", []))
        if not foreign and self.late and flags & PARTIAL:
            return True
        if self.late and "late_join" in flags and record.get("protocol") in BY_ORDER:
            self.unproven += 1
            return False
        if foreign:
            self.d.add(what, "wrong pairing: its reply carries %s, not %s" % (
                sorted(foreign)[:2], wanted))
        else:
            self.d.add(what, "its reply carries no token, not %s (flags %s)" % (
                wanted, sorted(flags)))
        return False

    def check_flags(self, what, x, record):
        seen = set(record.get("flags", []))
        want = set(x["expect"].get("flags", []))
        if x["expect"].get("outcome") == "NO_RESPONSE":
            want.add("no_response")
        extra = seen - want - set(x.get("flags_allowed", []))
        if self.late:
            extra -= LATE
        if extra or (want - seen - {"no_response"} and not self.late):
            self.d.add(what, "flags %s, not %s" % (sorted(seen), sorted(want)))

    def check_bodies(self, what, x, record):
        # Of an unknown protocol are also what is its body, and what its stream messages.
        partial = self.late and (set(record.get("flags", [])) & PARTIAL or
                                 "protocol" in names_unknown(record))
        for side in ("request", "response"):
            if side + "_body" in x and not partial:
                self.d.same(what, side + ".body", base64.b64decode(x[side + "_body"]),
                            oracle.body_of(record.get(side, {})))
        if "stream" in x and not partial:
            for side, sizes in x["stream"].items():
                seen = [m.get("body_bytes", 0) for m in record.get("stream", [])
                        if m["direction"].lower() == side]
                self.d.same(what, "stream " + side, sizes, seen)

    def check_fields(self, what, expect, record):
        """Reports what is wrong; whether all is known."""
        whole = True
        for key, want in expect.items():
            seen = lookup(record, key)
            if key == "flags" or equal(want, seen):
                continue
            whole = False
            if not (self.late and may_be_unknown(record, key, seen)):
                self.d.same(what, key, want, seen)
        return whole

    def check_one(self, number, record):
        x = self.lines[number]
        what = "%s %s" % (x["token"], record.get("path") or record.get("method") or record["id"])
        before = len(self.d.found)
        self.check_flags(what, x, record)
        if not self.check_reply(what, x, record):
            self.check_fields(what, {k: v for k, v in x["expect"].items() if is_request(k)}, record)
            return
        whole = self.check_fields(what, x["expect"], record)
        self.check_bodies(what, x, record)
        if whole and len(self.d.found) == before and not set(record.get("flags", [])) & PARTIAL - set(
                x["expect"].get("flags", [])) - {"no_response"}:
            self.whole.add(number)

    def check_lone(self, record):
        """A record whose request is nobody's."""
        if self.extra(record):
            return
        what = "record %s (%s %s %s)" % (record["id"], record.get("protocol"), record.get("path") or
                                         record.get("method"), record.get("flags", []))
        if not self.late:
            self.d.add(what, "nobody logged it: %s -> %s" % (record.get("client"),
                                                             record.get("server")))
            return
        known = [t for t in tokens(record, "request") if t in self.by_token]
        if known:
            self.d.add(what, "call %s is not logged at this hop: %s -> %s" % (
                known[0], record.get("client"), record.get("server")))
            return
        if record.get("protocol") == "opaque":
            return
        if not set(record.get("flags", [])) & LATE:
            self.d.add(what, "nobody logged it, and it is not marked")
            return
        numbers = [n for t in tokens(record, "response") for n in self.by_reply.get(t, [])]
        here = self.at_hop(numbers, record)
        if here:
            self.check_orphan(what, self.lines[here[0]], record)

    def check_orphan(self, what, x, record):
        for key in ("protocol", "service", "method", "path", "status_code", "outcome"):
            seen = lookup(record, key)
            if key in x["expect"] and not equal(x["expect"][key], seen) and seen not in (
                    None, "", 0, "UNKNOWN"):
                if key != "protocol" or not may_be_unknown(record, key, seen):
                    self.d.same(what, key, x["expect"][key], seen)

    # --- all

    def run(self):
        for record in self.records:
            numbers = self.find(record)
            if not numbers:
                self.check_lone(record)
            for n in numbers:
                self.found.setdefault(n, []).append(record)
        for n, records in self.found.items():
            if len(records) > 1:
                self.d.add(self.lines[n]["token"], "%d records: %s" % (
                    len(records), [(r["id"], r.get("server")) for r in records]))
            self.check_one(n, records[0])
        if not self.late:
            for n, x in enumerate(self.lines):
                if n not in self.found and not x.get("optional"):
                    self.d.add(x["token"], "no record at %s (%s)" % (
                        x.get("hop", "any hop"), x["expect"].get("path") or x["expect"].get("method")))
        oracle.check_numbers(self.d, self.records)
        return self

    def after(self):
        """Numbers of the lines made after the attach."""
        return [n for n in range(self.mark, len(self.lines)) if not self.lines[n].get("optional")]

    def lacking(self):
        """What is said of the calls after the attach that are not there, or not whole."""
        return ["%s at %s: %s" % (self.lines[n]["token"], self.lines[n].get("hop"), "; ".join(
            "%s %s %s" % (r["id"], r.get("flags", []), r.get("attributes", {}).get("unknown", ""))
            for r in self.found.get(n, [])) or "no record") for n in self.after() if n not in self.whole]

    def share(self):
        """(lines after the attach, those with a record, those whose record is right in every field)"""
        after = self.after()
        return len(after), sum(n in self.found for n in after), sum(n in self.whole for n in after)


def strict(lines, records, extra=None):
    if not lines:
        raise Failure("the applications logged no call: nothing was tested")
    Match(lines, records, extra).run().d.verdict()


def late(lines, records, extra=None, mark=0):
    """The Match, without a wrong field or pairing in it."""
    m = Match(lines, records, extra, late=True, mark=mark).run()
    m.d.verdict()
    return m
