/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back ends that bring packets: cgroup, socket (capture/attach_bpf.c, one probe) and pcap
 * (capture/attach_pcap.c, live or from a file). One table each; all is called on the loop thread
 * but own_port().
 */
#pragma once
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/ledger.h"
#include "capture/packet.h"

typedef void attach_packet_fn(void *ctx, const struct packet *p);

struct attach_cfg {
	const char
		*spec; /* after "cgroup:" / "socket:" / "pcap:"; NULL: the back end's own choice */
	const char *read_file; /* pcap: a file, "-" stdin; NULL: live */
	const uint16_t *ports; /* chosen ports, host order */
	size_t n_ports; /* 0: all */
	bool any_interface; /* not only lo */
	uint64_t
		keep_below; /* --connections: keep when the connection's 32-bit hash < this, at first; 1ull << 32: all */
	uint32_t hash_seed;
	uint32_t head_bytes; /* for VERDICT_HEAD */
	size_t hot_bytes, overflow_bytes; /* ring sizes; 0: 4 MiB and 32 MiB */
	attach_packet_fn *on_packet;
	void *ctx;
};

struct attach; /* each back end's own */

enum attach_state {
	ATTACH_MORE, /* the budget ended the drain */
	ATTACH_EMPTY, /* all rings were read empty, in order hot, overflow */
	ATTACH_EOF, /* file: the end */
	ATTACH_GONE, /* what it was attached to is gone (cgroup removed, interface down) */
};

struct attach_ops {
	const char *name; /* "cgroup" "socket" "pcap": the record's capture.attach */
	bool exact; /* its loss accounting is exact */
	/* Can it work here? 0, or -ENOTSUP / -EPERM / -ENOENT with one line in why: what failed, what to change. */
	int (*probe)(const struct attach_cfg *cfg, char *why, size_t why_n);
	struct attach *(*open)(const struct attach_cfg *cfg, char *err, size_t err_n);
	int (*fd)(struct attach
			  *a); /* readable when drain has work, after sleep() said so; -1: a file */
	/* Calls on_packet for at most `budget` packets. -errno when it cannot go on. */
	int (*drain)(struct attach *a, unsigned budget);
	/* Tells the probe that the reader is about to wait. True: nothing came meanwhile, wait on fd now. */
	bool (*sleep)(struct attach *a);
	/* Takes the programs away; what is in the rings can still be drained. */
	void (*detach)(struct attach *a);
	void (*own_port)(struct attach *a, uint16_t port, bool in_use); /* any thread; NULL: none */
	void (*verdict)(struct attach *a, uint32_t slot, uint32_t word); /* NULL: none */
	/* From now on only connections below this are taken. Packets under way may still come: packet.share tells. */
	void (*keep)(struct attach *a, uint64_t keep_below);
	/* CPU time that the probe has used in the kernel. True: measured (kernel.bpf_stats_enabled); false: estimated
	 * from its counters by measured costs. NULL: not known. */
	bool (*run_ns)(struct attach *a, uint64_t *ns);
	/* Is the target still there? Once a second. 0; -ENOENT: gone, drain and reopen. */
	int (*check)(struct attach *a);
	/* Its stages, in order: probe packets, probe bytes, ring. Number written (<= max). */
	size_t (*ledger)(struct attach *a, struct ledger_stage *out, size_t max);
	const char *(*describe)(
		struct attach *a); /* "cgroup /sys/fs/cgroup/x (direct)": one line */
	void (*close)(struct attach *a);
};

/* No such interface, or another than the one of this index (0: any will do). Where the question cannot be asked, for
 * want of a descriptor, it is taken to be there. */
static inline bool attach_interface_gone(const char *name, unsigned index)
{
	if (strcmp(name, "any") == 0)
		return false;
	unsigned now = if_nametoindex(name);
	return now ? index && now != index : errno == ENODEV;
}

extern const struct attach_ops attach_cgroup, attach_socket, attach_pcap;
