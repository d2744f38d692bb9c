/* SPDX-License-Identifier: Apache-2.0 */
/* The probe loaded but not attached; packets go through its programs one at a time by
 * BPF_PROG_TEST_RUN. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/event.h"
#include "capture/ring.h"
#include "frame.h"
#include "probe.skel.h"

enum rig_form {
	RIG_EGRESS,
	RIG_INGRESS,
	RIG_EGRESS_COPY,
	RIG_INGRESS_COPY,
	RIG_FILTER,
	RIG_EGRESS_COOKIE,
	RIG_INGRESS_COOKIE,
	RIG_FORMS
};
extern const int rig_verdict[RIG_FORMS], rig_hook[RIG_FORMS];
extern unsigned rig_forms; /* how many load here: the last two need Linux 6.16 */

struct rig {
	struct probe *k;
	struct ring hot, overflow;
	struct probe_counters *counters; /* mapped */
	uint64_t *own_ports, *verdicts;
	int fd[RIG_FORMS];
	uint8_t data[FRAME_MAX];
	unsigned events; /* taken */
	struct event last; /* its payload is in data[] */
};

extern const struct probe_config rig_all; /* every port, everything kept */

/* False, and why is said: this machine cannot. First of all calls. */
bool rig_ready(void);
uint64_t rig_cookie(void); /* of this network namespace */

/* These fail the test when they cannot. own_netns 0: this namespace. */
void rig_open(struct rig *r, struct probe_config config, const uint16_t *ports, size_t n,
	      size_t hot, size_t overflow);
void rig_close(struct rig *r);
/* cmocka's, with rig_all and 1 MiB rings */
int rig_setup(void **state);
int rig_teardown(void **state);

uint64_t rig_exit(const struct rig *r, int exit, bool bytes);
void rig_exits(const struct rig *r, uint64_t out[EXIT_N], bool bytes);
/* seen is `seen`, and so is the sum of all exits. */
void rig_balanced(const struct rig *r, bool bytes, uint64_t seen);

/* Reads a ring empty; counts, keeps the last. */
void rig_take(struct rig *r, struct ring *ring);
/* 0, and the program's verdict; -errno: the kernel would not make a packet of it. */
int rig_run_raw(int prog, const struct frame *f, uint64_t tstamp, uint32_t *verdict);
/* The exit by which the packet left: exactly one, with the right verdict, an event if and only if
 * submitted. */
int rig_run(struct rig *r, int form, const struct frame *f);
