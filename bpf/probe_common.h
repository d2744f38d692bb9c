/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The probe's global data, its exits, and what keeps the verifier content. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/event.h"

const volatile struct probe_config config = {.class_max = EVENT_CLASS_MAX};
struct probe_control control __attribute__((aligned(64))) = {.keep_below = KEEP_ALL};

/*
 * Arrays are maps, not global data: a variable index into global data is pointer arithmetic, and
 * with CAP_BPF alone that keeps the verifier from pruning (on 6.1 1,000,000 instructions were not
 * enough). The lookup in an array is compiled into a few instructions.
 */
#define ARRAY(name, value_type, n)                                                                 \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, n);                                                            \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

ARRAY(counters, struct probe_counters, PROBE_SLOTS);
ARRAY(chosen_ports, __u64, PORT_WORDS);
ARRAY(own_ports, __u64, PORT_WORDS);
ARRAY(verdicts, __u64, VERDICT_SLOTS);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} hot SEC(".maps"), overflow SEC(".maps");

/*
 * What is known of one packet. Whole words, as is all on the stack here: with CAP_BPF alone
 * verifiers before 6.8 refuse to write a part of a word in which they track a number ("attempt to
 * corrupt spilled pointer on stack").
 */
struct seen {
	__u64 scope, saddr[2], daddr[2]; /* as in struct event */
	__u64 sport, dport, sk_lport, sk_rport, seq, ack, payload_len, tcp_flags, urg_ptr, hook;
};

/* The value at i, or NULL: never while i is below the array's size. */
static __always_inline void *at(void *array, __u64 i)
{
	union {
		__u64 word;
		__u32 half[2];
	} key = {.word = i};

	return bpf_map_lookup_elem(array, &key.half[__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__]);
}

static __always_inline __u64 port_in(void *ports, __u64 port)
{
	const volatile __u64 *word = at(ports, port >> 6);

	return word ? *word >> (port & 63) & 1 : 0;
}

static __always_inline void count(struct probe_counters *c, int exit, __u32 len)
{
	__sync_fetch_and_add(&c->packets[exit], 1);
	__sync_fetch_and_add(&c->bytes[exit], len);
}

/*
 * Every function below that returns bool and takes the counters has counted the packet's exit when
 * it returns false.
 *
 * Written for the verifier: with CAP_BPF alone it also walks branches that it knows are not taken,
 * and refuses pointer arithmetic whose operand depends on the path. So the offset of an exit is a
 * constant at each place (the line of assembler keeps the compiler from merging them), and
 * decisions that need no branch have none.
 */
#define LEAVE(exit)                                                                                \
	do {                                                                                       \
		count(c, exit, skb->len);                                                          \
		asm volatile("r0 = %0" ::"i"(exit) : "r0");                                        \
		return false;                                                                      \
	} while (0)

/* 1 when a == b, else 0, without a branch; below 2^63 */
static __always_inline __u64 same(__u64 a, __u64 b)
{
	__u64 d = a ^ b;

	barrier_var(d);
	return (d - 1) >> 63;
}

/* yes ? a : b for yes 0 or 1, without a branch */
static __always_inline __u64 either(__u64 yes, __u64 a, __u64 b)
{
	__u64 mask = -yes;

	barrier_var(mask);
	return b ^ ((a ^ b) & mask);
}
