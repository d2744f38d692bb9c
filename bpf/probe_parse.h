/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a packet that begins with its IP header to what an event says of it. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>

#include "bpf/probe_common.h"

enum { EXT_HEADERS_MAX = 8 };
enum { IP_FRAG_MASK = 0x3fff, IP6_FRAG_MASK = 0xfff9 }; /* offset and "more fragments" */

static __always_inline void take_v4(struct seen *e, const struct iphdr *ip)
{
	e->saddr[0] = e->daddr[0] = 0;
	e->saddr[1] = bpf_cpu_to_be64(0xffffull << 32 | bpf_ntohl(ip->saddr));
	e->daddr[1] = bpf_cpu_to_be64(0xffffull << 32 | bpf_ntohl(ip->daddr));
}

static __always_inline void take_v6(struct seen *e, const struct ipv6hdr *ip)
{
	__builtin_memcpy(e->saddr, &ip->saddr, sizeof(e->saddr));
	__builtin_memcpy(e->daddr, &ip->daddr, sizeof(e->daddr));
}

/* Fills in what TCP says; the payload's offset from the start of the IP header, or 0: malformed. */
static __always_inline __u32 take_tcp(struct seen *e, const struct tcphdr *t, __u32 l4, __u32 len)
{
	const __u8 *b = (const __u8 *)t;
	__u32 doff = (b[12] >> 4) * 4, off = l4 + doff;

	if (doff < sizeof(*t) || off > len)
		return 0;
	e->sport = bpf_ntohs(t->source);
	e->dport = bpf_ntohs(t->dest);
	e->seq = bpf_ntohl(t->seq);
	e->ack = bpf_ntohl(t->ack_seq);
	e->tcp_flags = b[13];
	e->urg_ptr = bpf_ntohs(t->urg_ptr);
	e->payload_len = len - off;
	return off;
}

/* Next-header values that are extension headers with a length */
enum {
	HOP = IPPROTO_HOPOPTS,
	ROUTE = IPPROTO_ROUTING,
	OPTS = IPPROTO_DSTOPTS,
	FRAG = IPPROTO_FRAGMENT,
	AH = IPPROTO_AH
};
static const __u64 EXTENSIONS =
	1ull << HOP | 1ull << ROUTE | 1ull << OPTS | 1ull << FRAG | 1ull << AH;

static __always_inline bool is_extension(__u64 next)
{
	return next < 64 && EXTENSIONS >> next & 1;
}

/* Offset of TCP behind the extension headers (RFC 8200 section 4, RFC 4302 section 2.2). */
static __always_inline bool walk_v6(struct __sk_buff *skb, struct probe_counters *c, __u64 next,
				    __u32 *l4)
{
	union {
		struct {
			__u8 next, len;
			__be16 frag;
		};
		__u64 word;
	} h;
	__u64 off = sizeof(struct ipv6hdr), frag, ah;

	/* A loop has no end for a verifier that also walks branches which are not taken. */
#pragma unroll
	for (int i = 0; i <= EXT_HEADERS_MAX; i++) {
		if (next == IPPROTO_TCP) {
			*l4 = off;
			return true;
		}
		if (!is_extension(next))
			LEAVE(EXIT_NOT_TCP);
		h.word = 0;
		if (i == EXT_HEADERS_MAX || bpf_skb_load_bytes(skb, off, &h, 4))
			LEAVE(EXIT_MALFORMED);
		frag = same(next, FRAG);
		ah = same(next, AH);
		next = h.next;
		if (either(frag, h.frag & bpf_htons(IP6_FRAG_MASK), 0)) {
			if (next != IPPROTO_TCP && !is_extension(next))
				LEAVE(EXIT_NOT_TCP);
			LEAVE(EXIT_IP_FRAG);
		}
		/* Units of 8 bytes, the first not counted; of 4, the first two not counted; or 8
		 * bytes. */
		off += (either(frag, 0, h.len) + 1 + ah) << (3 - ah);
	}
	LEAVE(EXIT_MALFORMED);
}

struct plain_v4 {
	struct iphdr ip;
	struct tcphdr tcp;
};
struct plain_v6 {
	struct ipv6hdr ip;
	struct tcphdr tcp;
	__u32 whole; /* words */
};
enum { V6_BYTES = offsetof(struct plain_v6, whole) };

/* Any IPv4 packet; *off is where its payload begins. */
static __always_inline bool parse_v4(struct __sk_buff *skb, struct probe_counters *c,
				     struct seen *e, __u32 *off)
{
	struct plain_v4 h __attribute__((aligned(8))) = {};
	__u32 len = skb->len, l4;

	if (len >= sizeof(h) ? bpf_skb_load_bytes(skb, 0, &h, sizeof(h))
			     : bpf_skb_load_bytes(skb, 0, &h.ip, sizeof(h.ip)))
		LEAVE(EXIT_MALFORMED);
	if (h.ip.version != 4 || h.ip.ihl < 5)
		LEAVE(EXIT_MALFORMED);
	if (h.ip.protocol != IPPROTO_TCP)
		LEAVE(EXIT_NOT_TCP);
	if (h.ip.frag_off & bpf_htons(IP_FRAG_MASK))
		LEAVE(EXIT_IP_FRAG);
	l4 = h.ip.ihl * 4;
	if (l4 + sizeof(h.tcp) > len)
		LEAVE(EXIT_MALFORMED);
	if (l4 != sizeof(h.ip) && bpf_skb_load_bytes(skb, l4, &h.tcp, sizeof(h.tcp)))
		LEAVE(EXIT_MALFORMED);
	/* A filter on Ethernet sees the padding of frames shorter than 60 bytes. */
	if (config.any_interface && len <= ETH_ZLEN - ETH_HLEN && bpf_ntohs(h.ip.tot_len) < len)
		len = bpf_ntohs(h.ip.tot_len);
	take_v4(e, &h.ip);
	*off = take_tcp(e, &h.tcp, l4, len);
	if (!*off)
		LEAVE(EXIT_MALFORMED);
	return true;
}

static __always_inline bool parse_v6(struct __sk_buff *skb, struct probe_counters *c,
				     struct seen *e, __u32 *off)
{
	struct plain_v6 h __attribute__((aligned(8))) = {};
	__u32 len = skb->len, l4;

	if (len >= V6_BYTES ? bpf_skb_load_bytes(skb, 0, &h, V6_BYTES)
			    : bpf_skb_load_bytes(skb, 0, &h.ip, sizeof(h.ip)))
		LEAVE(EXIT_MALFORMED);
	if (h.ip.version != 6)
		LEAVE(EXIT_MALFORMED);
	if (!walk_v6(skb, c, h.ip.nexthdr, &l4))
		return false;
	if (bpf_skb_load_bytes(skb, l4, &h.tcp, sizeof(h.tcp)))
		LEAVE(EXIT_MALFORMED);
	take_v6(e, &h.ip);
	*off = take_tcp(e, &h.tcp, l4, len);
	if (!*off)
		LEAVE(EXIT_MALFORMED);
	return true;
}

/* The common packet, by direct access; 0: it is not that common, or its headers are not linear. */
static __always_inline __u32 parse_plain(struct __sk_buff *skb, struct seen *e)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct plain_v4 *h4 = data;
	struct plain_v6 *h6 = data;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if ((void *)(h4 + 1) > end || *(__u8 *)data != 0x45 ||
		    h4->ip.protocol != IPPROTO_TCP || h4->ip.frag_off & bpf_htons(IP_FRAG_MASK))
			return 0;
		take_v4(e, &h4->ip);
		return take_tcp(e, &h4->tcp, sizeof(h4->ip), skb->len);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (data + V6_BYTES > end || *(__u8 *)data >> 4 != 6 ||
		    h6->ip.nexthdr != IPPROTO_TCP)
			return 0;
		take_v6(e, &h6->ip);
		return take_tcp(e, &h6->tcp, sizeof(h6->ip), skb->len);
	}
	return 0;
}

static __always_inline bool parse(struct __sk_buff *skb, struct probe_counters *c, struct seen *e,
				  __u32 *off, bool direct)
{
	if (direct) {
		*off = parse_plain(skb, e);
		if (*off)
			return true;
	}
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_v4(skb, c, e, off);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_v6(skb, c, e, off);
	LEAVE(EXIT_NOT_TCP);
}
