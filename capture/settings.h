/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one capture was asked to do: command line and YAML configuration, one table of options for
 * both (settings.c), so that each flag is a key of the file and its help text. Flags win.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/log.h"
#include "capture/redact_rules.h"

enum { SETTINGS_PORTS_MAX = 256, SETTINGS_FILE_MAX = 1 << 20 };

struct settings {
	uint16_t ports[SETTINGS_PORTS_MAX]; /* each once, in the order given */
	size_t n_ports; /* 0: all */
	bool any_interface; /* --interface any */
	char *attach; /* "auto", or "cgroup[:DIR|pid:7,...]", "socket[:lo]", "pcap[:lo]" */
	char *read_file; /* --read; NULL: live */
	char *sink; /* "print:" by default */
	char *spool; /* directory; "": none */
	uint64_t spool_bytes; /* 256 MiB */
	double sample; /* 0 .. 1, of the calls */
	double connections; /* 0 .. 1, of the connections */
	struct sample_rule *rules; /* the first that matches decides; SAMPLE_RULES_MAX at most */
	size_t n_rules;
	uint16_t proxy_ports[SETTINGS_PORTS_MAX]; /* servers there are the proxy */
	size_t n_proxy_ports;
	double budget_cpu; /* of one CPU; 0: none */
	uint64_t budget_memory; /* bytes; 0: none */
	uint64_t limit_calls, limit_bytes, limit_ns; /* 0: none */
	uint64_t body_limit; /* bytes kept per message; UINT64_MAX: none */
	uint64_t opaque_head; /* of each direction of an opaque connection; 0 */
	uint64_t call_timeout_ns;
	bool redact, idle, reattach;
	struct redact_rules redact_rules; /* of a file's `redact:` mapping; with redact only */
	char *ready_file;
	char *config_file;
	bool check_only;
	unsigned verbose; /* -v: 1 */
	bool bodies; /* -x */
	bool quiet; /* no summary, no progress */
	uint64_t ledger_interval_ns; /* 10 s */
	uint64_t hot_ring_bytes, overflow_ring_bytes; /* powers of two */
	uint64_t max_connections; /* 65,536 */
	uint64_t pending_connection_bytes, pending_bytes; /* out of order: 1 MiB, 16 MiB */
	uint64_t open_bodies_bytes; /* 16 MiB */
	uint64_t header_bytes; /* 64 KiB */
	uint64_t header_count; /* 256 */
	uint64_t max_streams; /* open ones of a connection: 1,024 */
	uint64_t part_messages, part_ns; /* of a streaming call in one record: 1,000; 10 s */
	char *socket; /* of sidetap ctl; NULL: /run/sidetap/PID.sock or like it; "none" */
	char *metrics; /* "ADDR:PORT" or "unix:PATH"; NULL: none */
	unsigned log_format; /* enum log_format */
	unsigned priority; /* enum yield_priority */
	bool sandbox; /* seccomp and Landlock */
	char *service_name, *pod, *namespace_, *container; /* default: from the environment; "" */
	char config_hash[17]; /* of the values in force, hex; no secret goes into it */
	uint64_t flag_set; /* options given as flags: bits by their place in the table */
};

void settings_init(struct settings *s); /* the defaults */
void settings_fini(struct settings *s);

/* The command line ("capture" is argv[0]) and the file it names, into initialised *s. 0; 1:
 * --help, --version or --check was answered, exit 0; -EINVAL: said on stderr what and where,
 * exit 2. */
int settings_parse(struct settings *s, int argc, char **argv);

/*
 * Reads a YAML file whose keys are the flags' long names; again for a reload: what the file does
 * not name is at its default, what a flag set stays. Error: one line "FILE:LINE:COLUMN: ..." that
 * ends in what is allowed goes to err, -EINVAL, and *s is as before.
 */
int settings_load(struct settings *s, const char *path, FILE *err);

/*
 * The same over the values of *s as they are, flags too: what the text does not name stays. `keys`: the only
 * ones allowed, ended by NULL. `name` stands for the file in messages. (sidetap ctl sampling set)
 */
int settings_overlay(struct settings *s, const char *name, struct bytes text,
		     const char *const *keys, FILE *err);

/*
 * What a running capture takes of *next: *s becomes it, but for options that cannot change while it runs. Each of
 * those that differs keeps its value, and is told: its name and that value as the file would say it. *next holds
 * what *s had. True: something in *s changed; config_hash is that of the values in force.
 */
bool settings_adopt(struct settings *s, struct settings *next,
		    void (*kept)(void *ctx, const char *name, const char *value), void *ctx);

enum log_level settings_log_level(const struct settings *s); /* of --quiet and -vv */

/* A copy that settings_fini() frees. -ENOMEM: *to is empty. */
int settings_copy(struct settings *to, const struct settings *from);

/* What decides about calls by these settings: the rules, then --sample. NULL: no memory. */
struct sampler;
struct sampler *settings_sampler(const struct settings *s, uint64_t seed);

/* A spool is named, and the sink one that uses it? */
bool settings_has_spool(const struct settings *s);

/* The values in force as YAML, one a line; passwords in a sink's properties are masked. */
void settings_print(const struct settings *s, FILE *out);
