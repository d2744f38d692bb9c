/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The probe's global data, its exits, and what keeps the verifier content. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/event.h"

const volatile struct probe_config config = {.keep_below = 1ull << 32,
					     .class_max = EVENT_CLASS_MAX};
const volatile __u32 chosen_ports[PORT_WORDS];

struct probe_counters counters[PROBE_SLOTS];
struct probe_control control __attribute__((aligned(64)));
__u32 own_ports[OWN_PORT_WORDS];
__u32 verdicts[VERDICT_SLOTS];

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} hot SEC(".maps"), overflow SEC(".maps");

static __always_inline __u64 port_in(const volatile __u32 *map, __u64 port)
{
	__u64 i = port >> 5;

	barrier_var(i); /* the verifier forgets the width at the byte swap */
	i &= PORT_WORDS - 1;
	return (__u64)map[i] >> (port & 31) & 1;
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

/* Through a half-word of the stack: the verifier need not follow on each path anew where an index
 * came from. */
static __always_inline __u64 half_word(__u64 v)
{
	volatile __u16 h = v;

	return h;
}

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
