/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/packet.h"

#include <string.h>

/* Link types by their number in files (tcpdump.org/linktypes.html) and, for raw IP, on BSDs and
 * Linux */
enum {
	LINK_NULL = 0,
	LINK_EN10MB = 1,
	LINK_RAW_BSD = 12,
	LINK_RAW_OPENBSD = 14,
	LINK_RAW = 101,
	LINK_LOOP = 108,
	LINK_SLL = 113,
	LINK_IPV4 = 228,
	LINK_IPV6 = 229,
	LINK_SLL2 = 276,
};
enum {
	TYPE_IPV4 = 0x0800,
	TYPE_IPV6 = 0x86dd,
	TYPE_VLAN = 0x8100,
	TYPE_QINQ = 0x88a8,
	TYPE_QINQ_OLD = 0x9100
};
enum {
	PROTO_HOPOPTS = 0,
	PROTO_TCP = 6,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_AH = 51,
	PROTO_DSTOPTS = 60,
	PROTO_MOBILITY = 135,
	PROTO_HIP = 139,
	PROTO_SHIM6 = 140
};
enum { EXT_HEADERS_MAX = 8, VLAN_TAGS_MAX = 4, OPTION_JUMBO = 0xc2 };

/* A frame being read: what was captured, and how many bytes the wire still had from the cursor
 * on. */
struct frame {
	struct cursor c;
	uint64_t wire;
};

static struct bytes frame_take(struct frame *f, size_t n)
{
	if (f->wire < n)
		f->c.bad = true;
	f->wire -= f->wire < n ? 0 : n;
	return cursor_take(&f->c, n);
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* By the version nibble */
static enum packet_result type_by_version(struct frame *f, uint16_t *type)
{
	if (!cursor_left(&f->c))
		return PACKET_MALFORMED;
	unsigned version = f->c.p[0] >> 4;
	*type = version == 4 ? TYPE_IPV4 : version == 6 ? TYPE_IPV6 : 0;
	return *type ? PACKET_OK : PACKET_NOT_TCP;
}

static enum packet_result type_of_link(int dlt, struct frame *f, uint16_t *type)
{
	struct bytes h;
	switch (dlt) {
	case LINK_EN10MB:
		h = frame_take(f, 14);
		*type = h.p ? be16(h.p + 12) : 0;
		break;
	case LINK_SLL:
		h = frame_take(f, 16);
		*type = h.p ? be16(h.p + 14) : 0;
		break;
	case LINK_SLL2:
		h = frame_take(f, 20);
		*type = h.p ? be16(h.p) : 0;
		break;
	case LINK_NULL: /* the family is in the writer's byte order: the IP version says as much */
	case LINK_LOOP:
		h = frame_take(f, 4);
		return h.p ? type_by_version(f, type) : PACKET_MALFORMED;
	case LINK_RAW_BSD:
	case LINK_RAW_OPENBSD:
	case LINK_RAW: return type_by_version(f, type);
	case LINK_IPV4: *type = TYPE_IPV4; return PACKET_OK;
	case LINK_IPV6: *type = TYPE_IPV6; return PACKET_OK;
	default: return PACKET_UNSUPPORTED;
	}
	for (int i = 0; *type == TYPE_VLAN || *type == TYPE_QINQ || *type == TYPE_QINQ_OLD; i++) {
		if (i == VLAN_TAGS_MAX)
			return PACKET_UNSUPPORTED;
		h = frame_take(f, 4);
		*type = h.p ? be16(h.p + 2) : 0;
	}
	return f->c.bad ? PACKET_MALFORMED : PACKET_OK;
}

/* Bytes of the packet beyond `n` from the cursor are padding. */
static void frame_limit(struct frame *f, uint64_t n)
{
	if (f->wire > n)
		f->wire = n;
	if (cursor_left(&f->c) > f->wire)
		f->c.end = f->c.p + f->wire;
}

static void addr_v4(uint8_t out[16], const uint8_t *in)
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, in, 4);
}

static enum packet_result parse_ipv4(struct frame *f, struct packet *out)
{
	struct bytes h = frame_take(f, 20);
	if (!h.p || h.p[0] >> 4 != 4)
		return PACKET_MALFORMED;
	size_t head = (size_t)(h.p[0] & 15) * 4;
	uint32_t total = be16(h.p + 2);
	if (head < 20 || (total && total < head))
		return PACKET_MALFORMED;
	if (be16(h.p + 6) & 0x3fff) /* more fragments, or an offset */
		return PACKET_IP_FRAG;
	if (h.p[9] != PROTO_TCP)
		return PACKET_NOT_TCP;
	addr_v4(out->src, h.p + 12);
	addr_v4(out->dst, h.p + 16);
	if (total) { /* 0: a super-segment over 64 KiB */
		if (total - 20 > f->wire)
			return PACKET_MALFORMED;
		frame_limit(f, total - 20);
	}
	frame_take(f, head - 20);
	return f->c.bad ? PACKET_MALFORMED : PACKET_OK;
}

/* The jumbo payload option of hop-by-hop options (RFC 2675); 0: none */
static uint32_t jumbo_length(struct bytes options)
{
	struct cursor c = cursor_of(options);
	while (cursor_left(&c)) {
		uint8_t type = cursor_u8(&c);
		if (type == 0)
			continue;
		uint8_t n = cursor_u8(&c);
		struct bytes v = cursor_take(&c, n);
		if (type == OPTION_JUMBO && n == 4 && v.p)
			return be32(v.p);
	}
	return 0;
}

static enum packet_result ipv6_extension(struct frame *f, uint8_t *next, uint32_t payload)
{
	struct bytes h = frame_take(f, 2);
	if (!h.p)
		return PACKET_MALFORMED;
	uint8_t this = *next;
	if (this == PROTO_FRAGMENT) {
		struct bytes rest = frame_take(f, 6);
		if (!rest.p)
			return PACKET_MALFORMED;
		*next = h.p[0];
		return be16(rest.p) & 0xfff9 ? PACKET_IP_FRAG : PACKET_OK;
	}
	size_t n = this == PROTO_AH ? ((size_t)h.p[1] + 2) * 4 : ((size_t)h.p[1] + 1) * 8;
	struct bytes rest = frame_take(f, n - 2);
	if (f->c.bad)
		return PACKET_MALFORMED;
	*next = h.p[0];
	uint32_t jumbo = this == PROTO_HOPOPTS && payload == 0 ? jumbo_length(rest) : 0;
	if (jumbo) {
		if (jumbo < n || jumbo - n > f->wire)
			return PACKET_MALFORMED;
		frame_limit(f, jumbo - n);
	}
	return PACKET_OK;
}

static bool is_extension(uint8_t next)
{
	return next == PROTO_HOPOPTS || next == PROTO_ROUTING || next == PROTO_FRAGMENT ||
	       next == PROTO_AH || next == PROTO_DSTOPTS || next == PROTO_MOBILITY ||
	       next == PROTO_HIP || next == PROTO_SHIM6;
}

static enum packet_result parse_ipv6(struct frame *f, struct packet *out)
{
	struct bytes h = frame_take(f, 40);
	if (!h.p || h.p[0] >> 4 != 6)
		return PACKET_MALFORMED;
	uint32_t payload = be16(h.p + 4);
	uint8_t next = h.p[6];
	memcpy(out->src, h.p + 8, 16);
	memcpy(out->dst, h.p + 24, 16);
	if (payload > f->wire)
		return PACKET_MALFORMED;
	if (payload)
		frame_limit(f, payload);
	for (int i = 0; is_extension(next); i++) {
		if (i == EXT_HEADERS_MAX)
			return PACKET_UNSUPPORTED;
		enum packet_result r = ipv6_extension(f, &next, payload);
		if (r != PACKET_OK)
			return r;
	}
	return next == PROTO_TCP ? PACKET_OK : PACKET_NOT_TCP;
}

/* RFC 9293 section 3.1. Options are skipped: neither time stamps nor checksums are judged here. */
static enum packet_result parse_tcp(struct frame *f, struct packet *out)
{
	struct bytes h = frame_take(f, 20);
	if (!h.p)
		return PACKET_MALFORMED;
	size_t head = (size_t)(h.p[12] >> 4) * 4;
	if (head < 20)
		return PACKET_MALFORMED;
	out->sport = be16(h.p);
	out->dport = be16(h.p + 2);
	out->seq = be32(h.p + 4);
	out->ack = be32(h.p + 8);
	out->flags = h.p[13] & 0x3f;
	out->urg = be16(h.p + 18);
	if (f->wire < head - 20)
		return PACKET_MALFORMED;
	size_t options = head - 20, have = cursor_left(&f->c);
	if (have < options && f->wire - options == 0)
		options = have; /* a snap length inside the options of a packet without payload */
	uint64_t wire = f->wire - (head - 20);
	frame_take(f, options);
	if (f->c.bad || wire > UINT32_MAX)
		return PACKET_MALFORMED;
	out->len = (uint32_t)wire;
	out->data = bytes_of(f->c.p, cursor_left(&f->c));
	if (!out->len && !(out->flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return PACKET_CONTROL;
	return PACKET_OK;
}

enum packet_result packet_parse(int dlt, struct bytes frame, uint32_t wire_len, uint64_t ts_ns,
				struct packet *out)
{
	struct frame f = {cursor_of(frame), wire_len > frame.n ? wire_len : frame.n};
	uint16_t type = 0;
	*out = (struct packet) {.ts_ns = ts_ns, .hook = PACKET_PCAP};
	enum packet_result r = type_of_link(dlt, &f, &type);
	if (r != PACKET_OK)
		return r;
	if (type == TYPE_IPV4)
		r = parse_ipv4(&f, out);
	else if (type == TYPE_IPV6)
		r = parse_ipv6(&f, out);
	else
		return PACKET_NOT_TCP;
	return r == PACKET_OK ? parse_tcp(&f, out) : r;
}
