/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one contract between bpf/probe.bpf.c and capture/attach_bpf.c: the event in the rings, the
 * control words in global data, and the exit counters. Both sides include this file and nothing
 * else of each other. Integers are in host order; addresses are 16 bytes in network order, IPv4 as
 * v4-mapped (RFC 4291 section 2.5.5.2), so that one key serves both families.
 */
#pragma once
#include <linux/types.h>

enum event_hook { HOOK_EGRESS = 1, HOOK_INGRESS = 2, HOOK_FILTER = 3 };

/* TCP flags as in byte 13 of the header (RFC 9293 section 3.1) */
enum {
	EVENT_FIN = 0x01,
	EVENT_SYN = 0x02,
	EVENT_RST = 0x04,
	EVENT_PSH = 0x08,
	EVENT_ACK = 0x10,
	EVENT_URG = 0x20
};

/*
 * One TCP packet with payload, or with SYN, FIN or RST. `data` holds the first data_len bytes of
 * its payload; payload_len > data_len when a verdict cut it (head only) or it was larger than the
 * largest size class. Bare ACKs are not sent.
 */
struct event {
	__u64 ts_ns; /* CLOCK_MONOTONIC */
	__u64 scope; /* network namespace cookie (6.16+), or cgroup id, or 0 */
	__u8 saddr[16], daddr[16]; /* as in the packet */
	__u16 sport, dport; /* as in the packet */
	__u16 sk_lport, sk_rport; /* the hook's socket: own, peer; both 0 without one */
	__u32 seq, ack;
	__u32 payload_len; /* from skb->len, never from the IP length */
	__u32 data_len;
	__u32 flow_slot; /* index of this connection in the verdict array */
	__u32 flow_tag; /* the rest of its hash: tells slot collisions */
	__u8 tcp_flags;
	__u8 hook; /* enum event_hook */
	__u16 urg_ptr;
	__u32 flow_share; /* the half of the hash that keep_below is compared with */
	__u8 data[];
};

/* Room for payload in a record: powers of two, for the verifiers of 5.8 - 6.5 */
enum { EVENT_CLASS_MIN = 512, EVENT_CLASS_MAX = 262144 };

/*
 * Verdicts, written by user space into `verdicts[flow_slot]`, read by the probe at each packet:
 * 0 keep; else flow_tag << 4 | enum verdict; a slot whose tag differs means keep.
 * VERDICT_HEAD keeps the first `head_bytes` (rodata) of every packet. SYN, FIN, RST are never
 * muted.
 */
enum verdict { VERDICT_KEEP = 0, VERDICT_HEAD = 1, VERDICT_MUTE = 2 };
enum { VERDICT_SLOTS = 65536 };

/*
 * Exit counters: seen is counted first; seen = the sum of all that follow it, in packets and in
 * bytes (skb->len). A row of names for the ledger stands in capture/attach_bpf.c in this order.
 */
enum probe_exit {
	EXIT_SEEN,
	EXIT_SUBMITTED, /* in a ring */
	EXIT_NOT_TCP,
	EXIT_OTHER_INTERFACE, /* not loopback, with --interface lo */
	EXIT_OTHER_NETNS,
	EXIT_NOT_SELECTED, /* no chosen port */
	EXIT_OWN, /* sidetap's own connections */
	EXIT_OTHER_HOOK, /* ingress of a flow that egress has; lo's outgoing copy in the filter */
	EXIT_IP_FRAG,
	EXIT_MALFORMED,
	EXIT_CONTROL, /* no payload and neither SYN, FIN nor RST */
	EXIT_SAMPLED_OUT, /* --connections: then its acknowledgements too */
	EXIT_MUTED,
	EXIT_RING_FULL,
	EXIT_COPY_FAIL,
	EXIT_TOO_BIG, /* no class fits the rings */
	EXIT_N
};
enum { PROBE_SLOTS = 64 }; /* CPUs beyond share a slot; adds are atomic */
struct probe_counters {
	__u64 packets[EXIT_N];
	__u64 bytes[EXIT_N];
	/* Of the submitted events, beside the identity: payload bytes copied, and those cut by a
	 * verdict or a class */
	__u64 payload_submitted;
	__u64 payload_cut;
} __attribute__((aligned(64)));

/* Control words, in .data. As the arrays (counters, ports, verdicts) mmapped: no system call. */
#define KEEP_ALL (1ull << 32)
struct probe_control {
	__u32 spill; /* probe sets: hot ring was full; reader clears when both are empty */
	__u32 sleeping; /* reader sets: wake me; probe clears with the wakeup */
	/* reader sets: keep a connection when the upper half of its hash is below; KEEP_ALL */
	__u64 keep_below;
	__u32 pad[12];
};

/* Bitmaps of ports (own_ports, chosen_ports): port p is bit p & 63 of word p >> 6. */
enum { PORT_WORDS = 65536 / 64 };

/* What the probe is told before it is loaded (rodata: the verifier drops what is off). */
struct probe_config {
	__u64 own_netns; /* cookie of the reader's network namespace */
	__u32 hash_seed;
	__u32 head_bytes; /* for VERDICT_HEAD */
	__u32 class_max; /* largest EVENT_CLASS_* that fits the rings; more payload is cut */
	__u8 all_ports; /* chosen_ports is not looked at */
	__u8 any_interface;
	__u8 only_own_netns; /* with the namespace's cookie: the others leave as EXIT_OTHER_NETNS */
	__u8 scope_cgroup; /* scope is the socket's cgroup id */
	__u8 two_hooks; /* ingress is attached too: egress notes its flows for it */
	__u8 own_elsewhere; /* own_ports mean nothing here: the sockets are of other namespaces */
	__u8 pad[2];
};

/*
 * Hash of a connection by its client's address and port: the upper half samples connections
 * (keep_below), the lower gives slot and tag of its verdict.
 */
static inline __u64 event_hash(const __u8 addr[16], __u16 port, __u32 seed)
{
	const __u64 k1 = 0x9e3779b97f4a7c15ull, k2 = 0xbf58476d1ce4e5b9ull;
	__u64 a[2], h = (seed + 1ull) * k2;

	__builtin_memcpy(a, addr, sizeof(a));
	h = (h ^ a[0]) * k1;
	h = (h ^ h >> 32 ^ a[1]) * k2;
	h = (h ^ h >> 32 ^ port) * k1;
	h = (h ^ h >> 29) * k2;
	return h ^ h >> 32;
}

static inline __u32 event_slot(__u64 hash)
{
	return hash & (VERDICT_SLOTS - 1);
}

/* 28 bits: the word of a verdict is tag << 4 | enum verdict */
static inline __u32 event_tag(__u64 hash)
{
	return hash >> 16 & 0x0fffffff;
}
