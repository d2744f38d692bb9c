/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets never leave the process. A redactor is what the built-in lists and the configuration's rules say, compiled: it
 * does not change once made, calls keep the one that they opened with (by reference), a reload makes a new one
 * (calls_set_redactor). Used by one thread: it holds scratch memory of the engines.
 *
 * Where it cannot know, it fails closed: without memory, with an unknown encoding, with a body that is not what it
 * claims to be, the value or body goes, counted by its reason, and the rest of the call stays.
 *
 * What a redacted value looks like is in docs/record.md.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/ledger.h"
#include "capture/redact_rules.h"
#include "rpc/framer.h"

struct redactor;

/* rules NULL: the built-in lists alone. before: a redactor whose key is taken over when it comes from the same place
 * (it may not be readable any more); or NULL. NULL: err says what is wrong, in one line that holds no secret. */
struct redactor *redactor_new(const struct redact_rules *rules, const struct redactor *before,
			      char *err, size_t err_n);
struct redactor *redactor_ref(struct redactor *r); /* NULL stays NULL */
void redactor_unref(struct redactor *r);
bool redactor_has_body_rules(const struct redactor *r); /* from the configuration */
/* Why a body was dropped whole; names of exits of ledger stage `redact`. */
enum redact_why {
	REDACT_ENCODING, /* compressed, or an encoding or framing that is not known */
	REDACT_INVALID, /* not what its type says; nested too deep */
	REDACT_LATER_PART, /* the rest of a body whose beginning left in an earlier record */
	REDACT_CUT, /* it is not whole, and a rule would need it whole */
	REDACT_SLOW, /* patterns took more time than a text of its length gets, or matched too often */
	REDACT_GROWN, /* longer than a record holds, once redacted */
	REDACT_DROPPED, /* a rule's action */
	REDACT_NO_MEMORY,
	REDACT_WHYS
};

/* What was done, since start. Owned by whoever owns the calls. */
struct redact_counts {
	uint64_t bodies, unchanged, changed, dropped[REDACT_WHYS];
	uint64_t secrets, values[REDACT_KINDS]; /* all of them, and by what named them */
};

static inline void redact_count(struct redact_counts *c, enum redact_kind kind)
{
	c->secrets++;
	c->values[kind]++;
}

/* Stages `redact`: bodies and stream messages under a rule, by what became of them; `secrets`: values that were replaced
 * or dropped, by what named them. */
enum { REDACT_STAGES = 2 };
void redact_ledger(const struct redact_counts *c, struct ledger_stage out[REDACT_STAGES]);

/* One redaction: by what, counted where, in whose memory. */
struct redaction {
	struct redactor *by;
	struct redact_counts *counts;
	struct arena *arena;
};

/* Headers or trailers, in place; *n falls with what is dropped. Those that hold a URL (:path, referer, location) like
 * redact_path. True when anything was replaced. */
bool redact_headers(const struct redaction *r, struct header *headers, size_t *n);

/* Values of attributes, by the same rules. */
bool redact_attributes(const struct redaction *r, struct attribute *attributes, size_t n);

/* Query parameters of a request target or URL, userinfo of an absolute one or an authority. *path is replaced by a
 * copy in the arena when something was. Linear in its length. */
bool redact_path(const struct redaction *r, struct bytes *path);

/* Text by regular expressions alone: `on` says as what. */
bool redact_text(const struct redaction *r, enum redact_on on, struct bytes *text);

/* What is known of a body, or of one message of a stream. */
struct redact_body {
	const char *protocol, *transport;
	enum dir dir;
	struct bytes service, method;
	const struct header *headers; /* of its message */
	size_t n_headers;
	bool blind; /* they are not all here */
	bool compressed; /* its framer says so */
	bool cut; /* not the whole body, but its beginning */
	bool later; /* not even that: what came before it has left */
	uint64_t attachment; /* of the body's end: what no schema describes (bRPC) */
};

/* Does a rule look into a body like this? */
bool redact_body_wanted(const struct redactor *r, const struct redact_body *b);

/* Counted, and appended to out when it changed. 0: nothing to redact, out is as it was; 1: out has what may leave; -1:
 * nothing of it may leave. room: how long it may become. */
int redact_body(const struct redaction *r, const struct redact_body *b, struct bytes in,
		size_t room, struct buf *out);
