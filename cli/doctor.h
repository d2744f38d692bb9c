/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of doctor: what was found out, section by section, for the screen and for --json. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/snapshot.h"

enum { DOCTOR_TEXT = 256, DOCTOR_ADVICE_MAX = 12, DOCTOR_BACK_ENDS = 3 };

/* The capabilities that matter, in the order they are shown */
struct doctor_cap {
	const char *name; /* without CAP_ */
	unsigned number;
	const char *what_for;
};
enum { DOCTOR_CAPS = 6 };
extern const struct doctor_cap doctor_caps[DOCTOR_CAPS];

struct doctor_host {
	char release[65], machine[65];
	unsigned major, minor; /* of the release */
	bool btf;
	unsigned uid;
	int seccomp; /* 0 off, 1 strict, 2 filter; -1: not known */
	bool no_new_privs;
	uint64_t caps; /* effective */
	uint64_t memlock_bytes; /* the hard limit of RLIMIT_MEMLOCK; UINT64_MAX: none */
	char cgroup2[DOCTOR_TEXT]; /* where cgroup v2 is mounted; "" */
	char own_cgroup[DOCTOR_TEXT]; /* "/..." in it; "" */
};

/* Who shares what with us: a pod seen from one of its containers */
struct doctor_pod {
	bool kubernetes;
	char first_process[64]; /* name of PID 1 */
	unsigned processes; /* that /proc shows */
	unsigned same_network; /* in our network namespace (as far as we may look) */
	unsigned other_cgroup; /* of those, in another cgroup: other containers */
	unsigned reachable; /* of those, whose cgroup can be opened by /proc/PID/root */
};

struct doctor_attach {
	const char *name;
	bool exact, works;
	char why[DOCTOR_TEXT];
};

struct doctor_port {
	uint16_t port;
	char process[96];
	unsigned connections; /* established, both ends here */
	uint64_t bytes;
	unsigned outside; /* established, with other hosts */
};
enum { DOCTOR_PORTS = 64 };

struct doctor_traffic {
	bool known; /* sock_diag answered */
	char why[DOCTOR_TEXT];
	struct doctor_port ports[DOCTOR_PORTS]; /* listening, busiest first */
	size_t n_ports, more_ports;
	unsigned silent; /* local connections that never carried a byte over TCP */
	struct snapshot_unix unix_use;
	int sockmaps; /* BPF sockmaps and sockhashes on this kernel; -errno: not known */
};

struct doctor_kafka {
	bool asked, ok;
	char text[DOCTOR_TEXT]; /* what was found, or why not */
	const char *caveat; /* of its properties (kafka_spec_caveat()); NULL: none */
};

struct doctor {
	struct doctor_host host;
	struct doctor_pod pod;
	struct doctor_attach attach[DOCTOR_BACK_ENDS];
	struct doctor_traffic traffic;
	struct doctor_kafka kafka;
	char advice[DOCTOR_ADVICE_MAX][DOCTOR_TEXT * 2];
	size_t n_advice;
};

void doctor_look_host(struct doctor_host *h);
void doctor_look_pod(struct doctor_pod *p, const char *cgroup2); /* where it is mounted; "" */
void doctor_look_attach(struct doctor_attach a[DOCTOR_BACK_ENDS]);
void doctor_look_traffic(struct doctor_traffic *t);
/* Asks the brokers of "kafka://..." for their metadata, 2 s at most. */
void doctor_look_kafka(struct doctor_kafka *k, const char *sink);

/* The parts that read text, for tests */
void doctor_parse_status(struct doctor_host *h, const char *status); /* /proc/self/status */
bool doctor_parse_mountinfo(const char *line, char *at,
			    size_t at_n); /* true: mounts cgroup2 at *at */
bool doctor_has_cap(const struct doctor_host *h, unsigned number);
bool doctor_kernel_before(const struct doctor_host *h, unsigned major, unsigned minor);

/* What to change, from all of the above; reads nothing else. */
void doctor_advise(struct doctor *d);
/* The first back end that works; NULL */
const struct doctor_attach *doctor_choice(const struct doctor *d);

void doctor_print(const struct doctor *d, FILE *out, bool colour);
int doctor_print_json(const struct doctor *d, FILE *out); /* 0, -ENOMEM */
