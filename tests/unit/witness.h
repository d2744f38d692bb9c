/* SPDX-License-Identifier: Apache-2.0 */
/* Watches one conversation of netrig through a back end, byte by byte, and its ledger. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/attach.h"
#include "netrig.h"

enum { WITNESS_STAGES = 4 };

struct witness {
	uint16_t client; /* port: which packets are requests */
	uint64_t want[2], distinct[2], payload[2];
	uint8_t *mark[2];
	uint32_t base[2];
	bool based[2];
	uint64_t scope, wrong, events, cut;
	uint32_t largest, slot, tag, share;
	unsigned syn, fin, rst;
	uint8_t first_flags;
};

void witness_init(struct witness *s, const struct netrig_talk *t);
void witness_fini(struct witness *s);

struct attach_cfg witness_config(struct witness *s, const char *spec, const uint16_t *ports,
				 size_t n);
/* Fails the test when it cannot. */
struct attach *witness_open(const struct attach_ops *ops, const struct attach_cfg *cfg);
/* As the loop does it: drain, say that we sleep, look once more, wait. */
void witness_pump(const struct attach_ops *ops, struct attach *a, int timeout_ms);
/* Pumps until both ends are done, which saw every byte right; the ledger is never negative
 * meanwhile. */
void witness_talk(const struct attach_ops *ops, struct attach *a, struct netrig_run *r);
/* Detaches, empties the rings; every stage balances with nothing held. */
void witness_settle(const struct attach_ops *ops, struct attach *a,
		    struct ledger_stage st[WITNESS_STAGES]);
uint64_t witness_exit(const struct ledger_stage *s, const char *name);

extern uint16_t witness_client; /* the next free client port */
/* One conversation under one attachment; what was captured in *s, its last ledger in st. */
void witness_capture(const struct attach_ops *ops, struct attach_cfg cfg, struct netrig_talk *t,
		     struct witness *s, struct ledger_stage st[WITNESS_STAGES]);
/* All that was sent was captured; once, unless TCP itself sent again. */
void witness_every_byte_once(const struct witness *s, uint64_t retransmits_before);

enum { PARENT, SERVICE, PROXY, OTHER };
extern char witness_group[4][300]; /* cgroups: a parent, two below it, another */
int witness_make_groups(void **state);
int witness_remove_groups(void **state);

bool witness_kernel(int major, int minor); /* at least this one */
