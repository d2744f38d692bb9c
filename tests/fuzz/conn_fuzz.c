/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole connection with a script (tests/unit/drive.h) as input, seeded by the corpora of all protocols: prober,
 * framers, calls and records, at random cuts, joined late or not, with small limits or large ones. Ledgers balance
 * after each step, nothing is held or leaked at the end; the same when an allocation fails, or all from one on do.
 */
#include <stdio.h>
#include <stdlib.h>

#include "capture/conn.h"
#include "capture/recorder.h"
#include "tests/unit/drive.h"

enum { BYTES_MAX = 1 << 14, RECORD_MAX = 900 * 1024, SEGMENT_MAX = 1500 };

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* ---- allocations that fail (--wrap) ---- */

static struct {
	bool armed, all; /* all: those after it fail too */
	uint64_t n, at; /* so many were asked for; the one that fails */
} memory;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);

static bool fails(void)
{
	if (!memory.armed)
		return false;
	memory.n++;
	return memory.n == memory.at || (memory.all && memory.at && memory.n > memory.at);
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

/* ---- one connection ---- */

static struct {
	struct recorder *recorder;
	struct calls *calls;
	struct conns *conns;
	struct flow_callbacks cb;
	struct flow flow;
	uint64_t off[2], now, random;
	int last; /* direction of the last run; -1: none */
	bool holed[2], flipped, closed;
	uint64_t records;
} w;

static int submit(struct sink *sink, struct record **r, const char **exit)
{
	struct record *rec = *r;
	(void)sink, (void)exit;
	CHECK(rec->n <= RECORD_MAX);
	w.records++;
	recorder_report(w.recorder, RECORD_CALL, rec->number, rec->last_part, NULL);
	record_free(rec);
	*r = NULL;
	return 0;
}

static const struct sink_ops sink_fuzz = {.scheme = "fuzz", .submit = submit};

static size_t balanced(struct ledger_stage s[6])
{
	size_t n = conns_ledger(w.conns, s, 2);
	n += calls_ledger(w.calls, s + n, 2);
	n += recorder_ledger(w.recorder, s + n, 2);
	CHECK(n == 6);
	for (size_t i = 0; i < n; i++)
		if (ledger_residue(&s[i]) != 0) {
			fprintf(stderr, "stage %s does not balance\n", s[i].name);
			abort();
		}
	return n;
}

static void wire_open(bool late, bool small)
{
	static struct sink *const none;
	uint64_t random = w.random;
	memset(&w, 0, sizeof(w));
	w.random = random;
	w.now = 1000000000;
	w.last = -1;
	struct recorder_cfg rc = {.sample = 1,
				  .seed = 1,
				  .capture = {.instance = "i"},
				  .ops = &sink_fuzz,
				  .sink = none};
	struct call_limits limits = {.body = small ? 64 : 1 << 20,
				     .open_bodies = small ? 4096 : 16 << 20,
				     .open_heads = small ? 16384 : 0,
				     .pending = small ? 4 : 65536,
				     .part_messages = small ? 2 : 0,
				     .timeout_ns = 60000000000,
				     .seed = random,
				     .redact = random & 1};
	w.recorder = recorder_new(&rc);
	CHECK(w.recorder);
	struct call_sink sink = recorder_calls(w.recorder);
	w.calls = calls_new(&limits, &sink);
	struct conns_cfg cc = {
		.calls = w.calls,
		.framer = {small ? 512 : 64 << 10, small ? 8 : 256, small ? 2 : 1024, 64 << 20},
		.gather_max = small ? 4096 : 1 << 20,
		.gather_all = small ? 6000 : 0};
	w.conns = conns_new(&cc);
	CHECK(w.calls && w.conns);
	w.cb = conns_callbacks();
	w.flow = (struct flow) {.id = 1, .syn_seen = !late, .client_port = 1000, .server_port = 80};
}

static enum dir dir_now(enum dir dir)
{
	return w.flipped ? !dir : dir;
}

static void run(enum dir script_dir, struct stream_run *r)
{
	struct ledger_stage s[6];
	enum dir dir = dir_now(script_dir);
	r->off = w.off[dir];
	r->ack_off = w.off[!dir];
	r->ts_ns = w.flow.last_ns = w.now;
	w.off[dir] += r->missing + r->data.n;
	w.now += drive_random(&w.random) % 16 ? 1000 : 1500000000;
	uint8_t *copy = __real_malloc(r->data.n); /* a read beyond it is seen */
	CHECK(copy || !r->data.n);
	if (r->data.n)
		memcpy(copy, r->data.p, r->data.n);
	r->data.p = copy;
	const struct conn *c = w.flow.user;
	bool reversed = c && c->reversed;
	w.cb.data(w.conns, &w.flow, dir, r);
	free(copy);
	if (c && c->reversed != reversed) {
		uint64_t off = w.off[0];
		w.off[0] = w.off[1];
		w.off[1] = off;
		w.flipped = !w.flipped;
	}
	calls_expire(w.calls, w.now);
	balanced(s);
}

static void wire_bytes(enum dir dir, struct bytes b)
{
	while (b.n) {
		size_t n = 1 + drive_random(&w.random) % SEGMENT_MAX;
		if (drive_random(&w.random) % 4 == 0)
			n = 1 + n % 16;
		struct stream_run r = {.data = bytes_head(b, n), .flags = STREAM_SEGMENT_START};
		if (w.last >= 0 && w.last != (int)dir && !w.holed[dir])
			r.flags |= STREAM_TURN;
		w.holed[0] = w.holed[1] = false;
		w.last = (int)dir;
		run(dir, &r);
		b = bytes_from(b, n);
	}
}

static void wire_end(enum dir dir, enum end_how how)
{
	static const enum flow_end ends[] = {FLOW_FIN, FLOW_RST, FLOW_EVICTED, FLOW_STOP, FLOW_FIN};
	struct ledger_stage s[6];
	if (how == END_FIN) {
		w.cb.half_close(w.conns, &w.flow, dir_now(dir));
	} else {
		w.cb.close(w.conns, &w.flow, ends[how]);
		w.closed = true;
	}
	balanced(s);
}

static void wire_step(const struct drive_script *s, const struct drive_step *step)
{
	if (step->what == DRIVE_BYTES) {
		wire_bytes(step->dir, bytes_of(s->bytes.p + step->off, step->n));
	} else if (step->what == DRIVE_GAP && step->n) {
		struct stream_run r = {.missing = step->n};
		w.holed[step->dir] = true;
		run(step->dir, &r);
	} else if (step->what == DRIVE_END) {
		wire_end(step->dir, step->how);
	}
}

static void wire_close(void)
{
	struct ledger_stage s[6];
	if (!w.closed)
		w.cb.close(w.conns, &w.flow, drive_random(&w.random) & 1 ? FLOW_FIN : FLOW_STOP);
	memory.armed = false;
	CHECK(!w.flow.user && calls_open(w.calls) == 0);
	size_t n = balanced(s);
	for (size_t i = 0; i < n; i++)
		CHECK(s[i].held == 0);
	CHECK(s[4].in == s[3].in - s[3].exits[CALL_NO_MEMORY].n);
	conns_free(w.conns);
	calls_free(w.calls);
	recorder_free(w.recorder);
}

/* The at-th allocation fails (0: none). How many there were. */
static uint64_t converse(const struct drive_script *s, bool late, bool small, uint64_t at, bool all)
{
	wire_open(late, small);
	memory.n = 0;
	memory.at = at;
	memory.all = all;
	memory.armed = true;
	w.cb.open(w.conns, &w.flow);
	for (size_t i = 0; i < s->n && !w.closed; i++)
		wire_step(s, &s->steps[i]);
	wire_close();
	return memory.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;
	uint64_t seed = 0x9e3779b97f4a7c15 ^ size;
	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	seed |= 1;
	if (drive_parse(&s, bytes_of(data, size), BYTES_MAX) && s.bytes.n) {
		bool late = s.late, small = seed >> 9 & 1;
		w.random = seed;
		uint64_t n = converse(&s, late ^ (seed >> 10 & 1), small, 0, false);
		CHECK(n > 0); /* else they are not ours */
		w.random = seed;
		converse(&s, late ^ (seed >> 10 & 1), small, 1 + (seed >> 16) % n, seed >> 11 & 1);
	}
	drive_script_fini(&s);
	return 0;
}
