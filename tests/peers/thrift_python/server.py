# SPDX-License-Identifier: Apache-2.0
"""server.py GENERATED PORT PROTOCOL TRANSPORT SERVER [multiplexed]"""

import logging
import sys

sys.path.insert(0, sys.argv[1])

from thrift.protocol import TBinaryProtocol, TCompactProtocol  # noqa: E402
from thrift.server import TNonblockingServer, TServer  # noqa: E402
from thrift.TMultiplexedProcessor import TMultiplexedProcessor  # noqa: E402
from thrift.transport import TSocket, TTransport  # noqa: E402

from shop import Ledger, Shop, ttypes  # noqa: E402

logging.disable(logging.CRITICAL)  # the errors are meant
PORT, PROTOCOL, TRANSPORT, SERVER = int(sys.argv[2]), *sys.argv[3:6]


def reply_token(token):
    return "rp" + token[2:]


class Handler:
    def get(self, item):
        if item.number < 0:
            raise ttypes.Gone(reply_token(item.token), item.number)
        return ttypes.Item(reply_token(item.token), item.number, item.tags, item.counts, item.blob,
                           item.fresh, item.sizes, item.part, item.marks)

    def put(self, token, item):
        pass

    def tell(self, token):
        pass

    def fail(self, token):
        raise ValueError("as asked")

    def count(self, token):
        return len(token)


PROTOCOLS = {
    "strict": TBinaryProtocol.TBinaryProtocolFactory(),
    "old": TBinaryProtocol.TBinaryProtocolFactory(strictRead=False, strictWrite=False),
    "compact": TCompactProtocol.TCompactProtocolFactory(),
}
TRANSPORTS = {"framed": TTransport.TFramedTransportFactory(),
              "buffered": TTransport.TBufferedTransportFactory(),
              "socket": TTransport.TTransportFactoryBase()}


def main():
    processor = Shop.Processor(Handler())
    if "multiplexed" in sys.argv:
        several = TMultiplexedProcessor()
        several.registerProcessor("Shop", processor)
        several.registerProcessor("demo.Ledger", Ledger.Processor(Handler()))
        processor = several
    socket = TSocket.TServerSocket("127.0.0.1", PORT)
    protocol = PROTOCOLS[PROTOCOL]
    if SERVER == "nonblocking":
        server = TNonblockingServer.TNonblockingServer(processor, socket, protocol, protocol)
    else:
        server = TServer.TThreadedServer(processor, socket, TRANSPORTS[TRANSPORT], protocol, daemon=True)
    server.serve()


main()
