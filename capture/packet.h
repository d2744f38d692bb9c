/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP packet, as every attach back end hands it on: from an event of the probe, or parsed here
 * from a frame of libpcap.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum packet_hook { PACKET_EGRESS = 1, PACKET_INGRESS = 2, PACKET_FILTER = 3, PACKET_PCAP = 4 };

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20
};

struct packet {
	uint64_t ts_ns; /* live: CLOCK_MONOTONIC; from a file: its unix time */
	uint64_t scope; /* tells network namespaces apart; 0 when there is only one */
	uint8_t src[16], dst[16]; /* network order, IPv4 as v4-mapped */
	uint16_t sport, dport;
	uint16_t sk_lport,
		sk_rport; /* ports of the hook's socket: own, peer; 0 when there is none */
	uint32_t seq, ack;
	uint32_t len; /* payload bytes on the wire */
	struct bytes
		data; /* payload captured, data.n <= len; borrowed until the callback returns */
	uint32_t slot, tag; /* verdict slot of the probe */
	uint32_t share; /* of its connection: taken while below attach_ops.keep */
	uint16_t urg;
	uint8_t flags; /* TCP_* */
	uint8_t hook; /* enum packet_hook */
};

/* What packet_parse() found; names of the ledger exits of stage `pcap` */
enum packet_result {
	PACKET_OK,
	PACKET_NOT_TCP,
	PACKET_IP_FRAG,
	PACKET_MALFORMED,
	PACKET_CONTROL, /* TCP without payload and without SYN, FIN, RST */
	PACKET_UNSUPPORTED, /* link type or chain of extension headers longer than the bound */
};

/*
 * Parses a frame of link type DLT_* (pcap number: EN10MB 1, NULL 0, LOOP 108, RAW 12/14/101,
 * LINUX_SLL 113, LINUX_SLL2 276, IPV4 228, IPV6 229). frame.n is what was captured, wire_len what
 * was on the wire. Lengths: the payload length comes from the IP length, but from wire_len where
 * that is 0 (super-segments over 64 KiB) or a jumbo option says so; bytes beyond (Ethernet padding)
 * are dropped. VLAN tags are skipped. At most 8 IPv6 extension headers.
 */
enum packet_result packet_parse(int dlt, struct bytes frame, uint32_t wire_len, uint64_t ts_ns,
				struct packet *out);
