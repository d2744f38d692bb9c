# SPDX-License-Identifier: Apache-2.0
"""pcap files as tcpdump writes them on lo: Ethernet, IPv4, TCP, little-endian, microseconds."""

import struct


def read(path):
    """(file header, packets with their record headers)"""
    with open(path, "rb") as f:
        data = f.read()
    at, packets = 24, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        packets.append(data[at:at + 16 + size])
        at += 16 + size
    return data[:24], packets


def write(path, head, packets):
    with open(path, "wb") as f:
        f.write(head + b"".join(packets))


def tcp(packet):
    """The TCP header and what follows, up to the IP packet's end."""
    ip = packet[16 + 14:]
    ihl = (ip[0] & 15) * 4
    total = struct.unpack_from(">H", ip, 2)[0] or len(ip)
    return ip[ihl:total]


def payload_bytes(packet):
    segment = tcp(packet)
    return len(segment) - (segment[12] >> 4) * 4


def flags(packet):
    """FIN 1, SYN 2, RST 4 ..."""
    return tcp(packet)[13]


def flow(packet):
    """(source port, destination port)"""
    return struct.unpack_from(">HH", tcp(packet))


def time_ns(packet):
    seconds, micros = struct.unpack_from("<II", packet)
    return seconds * 10 ** 9 + micros * 1000
