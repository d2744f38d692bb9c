#!/ usr / bin / python3 - B
#SPDX - License - Identifier : Apache - 2.0
""
	"
	Random structs as Apache
		Thrift's own library writes them, for thrift_oracle_test.c: to stdout, each as u8 form (
			0 binary, 2 compact),
	u32 length, bytes.Exit code 77,
	with the reason on stderr
    : the library cannot be had
	      .

      thrift_oracle.py COUNT SEED ""
				  "

      import os import random import struct import sys

      TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

		    def library()
    : ""
      "Goes on in the environment that the Python peer uses too."
      "" sys.path.insert(0, os.path.join(TOP, "tests", "peers")) from kit.build import venv from kit
	      .capture import Skip
try : python = os.path.join(venv(os.path.join(TOP, "build", "cache", "peers", "oracle"), "thrift",
                                   "thrift==0.25.0"), "python")
    except (Skip, OSError) as e:
        print(e, file=sys.stderr)
        sys.exit(77)
    os.execv(python, [python, "-B", os.path.abspath(__file__), *sys.argv[1:], "here"])


class Writer:
    def __init__(self, rng, protocol, types):
        self.rng, self.p, self.t = rng, protocol, types
        self.simple = {
            types.BOOL: lambda: protocol.writeBool(rng.random() < 0.5),
            types.BYTE: lambda: protocol.writeByte(rng.randint(-128, 127)),
            types.I16: lambda: protocol.writeI16(self.number(16)),
            types.I32: lambda: protocol.writeI32(self.number(32)),
            types.I64: lambda: protocol.writeI64(self.number(64)),
            types.DOUBLE: lambda: protocol.writeDouble(rng.uniform(-1e9, 1e9)),
            types.STRING: lambda: protocol.writeBinary(rng.randbytes(rng.choice((0, 1, 5, 130, 300)))),
        }
        self.nested = {types.STRUCT: self.struct, types.LIST: self.list, types.SET: self.set, types.MAP: self.map}

    def number(self, bits):
        bits = self.rng.randint(0, bits - 1)
        return self.rng.randint(-(1 << bits), (1 << bits) - 1)

    def pick(self, depth):
        return self.rng.choice([*self.simple, *(self.nested if depth else ())])

    def value(self, kind, depth):
        if kind in self.simple:
            self.simple[kind]()
        else:
            self.nested[kind](depth - 1)

    def size(self):
        return self.rng.choice((0, 1, 2, 3, 14, 15, 16))

    def list(self, depth):
        kind, n = self.pick(depth), self.size()
        self.p.writeListBegin(kind, n)
        for _ in range(n):
            self.value(kind, depth)
        self.p.writeListEnd()

    def set(self, depth):
        kind, n = self.pick(depth), self.size()
        self.p.writeSetBegin(kind, n)
        for _ in range(n):
            self.value(kind, depth)
        self.p.writeSetEnd()

    def map(self, depth):
        key, value, n = self.pick(depth), self.pick(depth), self.size()
        self.p.writeMapBegin(key, value, n)
        for _ in range(n):
            self.value(key, depth)
            self.value(value, depth)
        self.p.writeMapEnd()

    def struct(self, depth):
        number = 0
        self.p.writeStructBegin("S")
        for _ in range(self.rng.randint(0, 6)):
            number = self.rng.choice((number + 1, number + 3, number + 16, self.rng.randint(-32768, 32000)))
            kind = self.pick(depth)
            self.p.writeFieldBegin("f", kind, number)
            self.value(kind, depth)
            self.p.writeFieldEnd()
        self.p.writeFieldStop()
        self.p.writeStructEnd()


def main():
    from thrift.protocol import TBinaryProtocol, TCompactProtocol
    from thrift.Thrift import TType
    from thrift.transport import TTransport
    rng = random.Random(int(sys.argv[2]))
    for i in range(int(sys.argv[1])):
        out = TTransport.TMemoryBuffer()
        form = 2 * (i % 2)
        protocol = (TCompactProtocol.TCompactProtocol if form else TBinaryProtocol.TBinaryProtocol)(out)
        Writer(rng, protocol, TType).struct(rng.choice((0, 1, 2)) if i % 50 else 3)
        data = out.getvalue()
        sys.stdout.buffer.write(struct.pack(">BI", form, len(data)) + data)


if len(sys.argv) > 3:
    main()
else:
    library()
