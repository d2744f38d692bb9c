/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which packets are selected, and which side of their connection is the client. */
#pragma once
#include <bpf/bpf_endian.h>

#include "bpf/probe_common.h"

enum { CLIENTS_MAX = 16384 };

/* Clients of selected flows, by address and port as in the packet: under NAT the other direction
 * has no chosen port. */
struct client_key {
	__u64 scope;
	__u64 addr[2];
	__u64 port;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CLIENTS_MAX);
	__type(key, struct client_key);
	__type(value, __u64);
} clients SEC(".maps");

static __always_inline __u64 chosen(__u64 port)
{
	return port_in(&chosen_ports, port);
}

/* Chosen ports of a packet, as bits */
enum { P_S = 1, P_D = 2, P_OWN = 4, P_PEER = 8 };

/* Fills in the ports of the hook's socket; which of them are chosen. */
static __always_inline __u64 take_socket(struct __sk_buff *skb, struct seen *e)
{
	struct bpf_sock *sk = skb->sk;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 0;
	e->sk_lport = sk->src_port;
	e->sk_rport = bpf_ntohs(sk->dst_port);
	return chosen(e->sk_lport) * P_OWN | chosen(e->sk_rport) * P_PEER;
}

/* The socket has other ports than the packet: one direction was rewritten. */
static __always_inline bool rewritten(const struct seen *e)
{
	bool out = e->hook == HOOK_EGRESS;
	__u64 local = out ? e->sport : e->dport, remote = out ? e->dport : e->sport;

	/* A listener has no peer. */
	return e->sk_lport &&
	       (local ^ e->sk_lport) | either(same(e->sk_rport, 0), 0, remote ^ e->sk_rport);
}

/* Which side is the client */
enum { DEST = 0, SOURCE = 1, NOBODY = 2 };

static __always_inline void side_of(const struct seen *e, __u64 side, __u64 addr[2], __u64 *port)
{
	const __u64 *s = e->saddr, *d = e->daddr;

	addr[0] = either(side, s[0], d[0]);
	addr[1] = either(side, s[1], d[1]);
	*port = either(side, e->sport, e->dport);
}

static __always_inline void remember_client(const struct seen *e, __u64 side)
{
	struct client_key k = {.scope = e->scope};
	__u64 one = 1;

	side_of(e, side, k.addr, &k.port);
	if (!bpf_map_lookup_elem(&clients, &k))
		bpf_map_update_elem(&clients, &k, &one, BPF_ANY);
}

/* A packet without a chosen port whose client has a selected flow. A new connection makes the old
 * entry stale. */
static __always_inline __u64 known_client(const struct seen *e)
{
	struct client_key k = {.scope = e->scope};

	side_of(e, SOURCE, k.addr, &k.port);
	if ((e->tcp_flags & (EVENT_SYN | EVENT_ACK)) == EVENT_SYN) {
		bpf_map_delete_elem(&clients, &k);
		return NOBODY;
	}
	if (bpf_map_lookup_elem(&clients, &k))
		return SOURCE;
	side_of(e, DEST, k.addr, &k.port);
	return bpf_map_lookup_elem(&clients, &k) ? DEST : NOBODY;
}

/* No port tells: the higher one; of equal ones (a self-connect) an address. Same for both
 * directions. */
static __always_inline __u64 higher_side(const struct seen *e)
{
	const __u64 *s = e->saddr, *d = e->daddr;
	__u64 source = (__u64)e->sport << 32 | (s[0] * 3 + s[1]) >> 32;
	__u64 dest = (__u64)e->dport << 32 | (d[0] * 3 + d[1]) >> 32;

	return (dest - source) >> 63;
}

/*
 * By which of the four ports are chosen (bits: source, destination, socket's own, socket's peer):
 * the packet's when they differ, else, when it has none, the socket's; the client is the other
 * side. `known`: these combinations tell.
 */
#define ONE_PACKET_PORT(has)                                                                       \
	(1 << (has) | 1 << ((has) | P_OWN) | 1 << ((has) | P_PEER) | 1 << ((has) | P_OWN | P_PEER))
enum {
	BY_DEST = ONE_PACKET_PORT(P_D),
	BY_SOURCE = ONE_PACKET_PORT(P_S),
	BY_OWN = 1 << P_OWN,
	BY_PEER = 1 << P_PEER
};

/* SOURCE, DEST, or NOBODY: not selected. ports: the bits of the socket */
static __always_inline __u64 select_client(const struct seen *e, __u64 ports)
{
	const __u64 known = BY_DEST | BY_SOURCE | BY_OWN | BY_PEER;
	const __u64 source = BY_DEST | (e->hook == HOOK_EGRESS ? BY_PEER : BY_OWN);
	__u64 side;

	if (config.all_ports)
		return higher_side(e);
	ports |= chosen(e->sport) * P_S | chosen(e->dport) * P_D;
	barrier_var(ports);
	if (!ports)
		return known_client(e);
	side = either(known >> ports & 1, source >> ports & 1, higher_side(e));
	if (e->hook == HOOK_FILTER || rewritten(e))
		remember_client(e, side);
	return side;
}
