# SPDX-License-Identifier: Apache-2.0
"""client.py GENERATED PORT PROTOCOL TRANSPORT [multiplexed]"""

import random
import sys

sys.path.insert(0, sys.argv[1])

import peerapp  # noqa: E402
from thrift.protocol import TBinaryProtocol, TCompactProtocol  # noqa: E402
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol  # noqa: E402
from thrift.Thrift import TApplicationException  # noqa: E402
from thrift.transport import TSocket, TTransport  # noqa: E402

from shop import LaterShop, Ledger, ttypes  # noqa: E402

PORT, PROTOCOL, TRANSPORT = int(sys.argv[2]), *sys.argv[3:5]
MULTIPLEXED = "multiplexed" in sys.argv
NAMES = {"strict": "binary", "old": "old_binary", "compact": "compact"}
FORM = "%s+%s" % ("framed" if TRANSPORT == "framed" else "unframed", NAMES[PROTOCOL])
RANDOM = random.Random(4)


class Recorder(TTransport.TTransportBase):
    """Above the frames: what it passes on are messages, as a record's body has them."""

    def __init__(self, inner):
        self.inner, self.sent, self.got = inner, b"", b""

    def write(self, data):
        self.sent += data
        self.inner.write(data)

    def read(self, size):
        data = self.inner.read(size)
        self.got += data
        return data

    def flush(self):
        self.inner.flush()

    def taken(self):
        both = self.sent, self.got
        self.sent = self.got = b""
        return both


class Connection:
    def __init__(self):
        self.socket = TSocket.TSocket("127.0.0.1", PORT)
        framed = TRANSPORT == "framed"
        # "socket": unbuffered, each field is a segment of its own
        inner = self.socket if TRANSPORT == "socket" else (
            TTransport.TFramedTransport if framed else TTransport.TBufferedTransport)(self.socket)
        self.recorder = Recorder(inner)
        if PROTOCOL == "compact":
            protocol = TCompactProtocol.TCompactProtocol(self.recorder)
        else:
            protocol = TBinaryProtocol.TBinaryProtocol(self.recorder, False, PROTOCOL == "strict")
        inner.open()
        self.close = inner.close
        self.address = "%s:%d" % self.socket.handle.getsockname()
        named = (lambda name: TMultiplexedProtocol(protocol, name)) if MULTIPLEXED else (lambda name: protocol)
        self.shop = LaterShop.Client(named("Shop"))
        self.ledger = Ledger.Client(named("demo.Ledger")) if MULTIPLEXED else None

    def log(self, token, method, sent, got, outcome="OK", service="Shop", reply_token=None, **more):
        expect = {"protocol": "thrift", "transport": FORM, "method": method, "outcome": outcome,
                  "service": service if MULTIPLEXED else None, "status_code": 0, "call_type": "unary",
                  "client": self.address, **more}
        peerapp.line(token, reply_token, expect, request_body=sent, response_body=got)


def item(token, number=7):
    parts = [ttypes.Part("bolt", 0.25), ttypes.Part("nut", -1e300, [])]
    return ttypes.Item(token, number, ["a", "", "\u00e9"], {"one": 1, "big": 1 << 60},
                       RANDOM.randbytes(RANDOM.choice([0, 3, 40])), True, {-1, 0, 300},
                       ttypes.Part("box", 3.5, parts), {-5: [True, False], 6: []})


def ask(c, number):
    token = peerapp.new_token()
    reply = "rp" + token[2:]
    try:
        if c.shop.get(item(token, number)).token != reply or number < 0:
            raise AssertionError("another call's reply")
        outcome = "OK"
    except ttypes.Gone as gone:
        if gone.why != reply or number >= 0:
            raise
        outcome = "DECLARED_EXCEPTION"
    c.log(token, "get", *c.recorder.taken(), outcome, reply_token=reply)


def plain(c, method, call, **more):
    token = peerapp.new_token()
    call(token)
    c.log(token, method, *c.recorder.taken(), **more)


def refused(c, method, status):
    token = peerapp.new_token()
    try:
        getattr(c.shop, method)(token)
    except TApplicationException as e:
        if e.type != status:
            raise
        c.log(token, method, *c.recorder.taken(), "SERVER_ERROR", status_code=status,
              status_text=e.message)
        return
    raise AssertionError("%s was not refused" % method)


def tell(c):
    token = peerapp.new_token()
    c.shop.tell(token)
    sent, _ = c.recorder.taken()
    c.log(token, "tell", sent, None, call_type="oneway")


def pipelined(c):
    """Requests without waiting, then their replies in order."""
    calls = []
    for _ in range(4):
        token = peerapp.new_token()
        c.shop.send_get(item(token))
        calls.append([token, c.recorder.taken()[0]])
    for token, sent in calls:
        if c.shop.recv_get().token != "rp" + token[2:]:
            raise AssertionError("out of order")
        c.log(token, "get", sent, c.recorder.taken()[1], reply_token="rp" + token[2:])


def calls(c):
    for number in (1, -1, 2):
        ask(c, number)
    plain(c, "put", lambda token: c.shop.put(token, item(token)))
    tell(c)
    refused(c, "fail", 6)
    refused(c, "later", 1)
    tell(c)
    ask(c, 3)
    if MULTIPLEXED:
        plain(c, "count", c.ledger.count, service="demo.Ledger")
    pipelined(c)


def main():
    kept = [Connection(), Connection()]

    def once():
        for c in kept:
            calls(c)
        short = Connection()
        ask(short, 4)
        tell(short)
        ask(short, -4)
        short.close()

    peerapp.rounds(once)
    for c in kept:
        c.close()


main()
