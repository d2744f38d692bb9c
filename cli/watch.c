/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/watch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/units.h"
#include "cli/snapshot.h"

enum { WATCH_PORTS_SHOWN = 3, WATCH_PORTS_MAX = 1024 };

struct watch {
	struct socks *socks;
	struct snapshot before, after;
	bool any_interface, compared;
	uint64_t begin_ns, end_ns;
};

/* What was seen of one server port between the two moments */
struct port_use {
	uint16_t port;
	uint64_t bytes; /* moved between local ends */
	unsigned open; /* connections, local */
	unsigned ended; /* local connections that ended meanwhile */
	unsigned silent; /* local, and no byte in all their life */
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void watch_end(struct watch *w)
{
	if (!w)
		return;
	snapshot_fini(&w->before);
	snapshot_fini(&w->after);
	socks_free(w->socks);
	free(w);
}

struct watch *watch_begin(void)
{
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->begin_ns = now_ns();
	w->socks = socks_new();
	if (w->socks && snapshot_take(&w->before, w->socks) == 0)
		return w;
	watch_end(w);
	return NULL;
}

void watch_any_interface(struct watch *w)
{
	w->any_interface = true;
}

static void compare(struct watch *w)
{
	if (w->compared)
		return;
	w->end_ns = now_ns();
	snapshot_take(&w->after, w->socks);
	w->compared = true;
}

static bool ended(const struct watch *w, const struct snapshot_row *r)
{
	if (r->state != SOCKS_TIME_WAIT)
		return false;
	const struct snapshot_row *was = snapshot_find(&w->before, &r->t);
	return !was || was->state != SOCKS_TIME_WAIT;
}

static uint64_t moved(const struct watch *w, const struct snapshot_row *r)
{
	const struct snapshot_row *was = snapshot_find(&w->before, &r->t);
	/* another connection with the same ends began anew */
	return was && was->bytes <= r->bytes ? r->bytes - was->bytes : r->bytes;
}

static bool chosen(const uint16_t *ports, size_t n, uint16_t a, uint16_t b)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i] == a || ports[i] == b)
			return true;
	return n == 0;
}

static bool on_ports(const struct snapshot_row *r, const uint16_t *ports, size_t n)
{
	return chosen(ports, n, r->t.lport, r->t.rport);
}

bool watch_moving(struct watch *w, const uint16_t *ports, size_t n_ports)
{
	compare(w);
	for (size_t i = 0; i < w->after.n_rows; i++) {
		const struct snapshot_row *r = &w->after.rows[i];
		if (r->own || !(r->local || w->any_interface) || !on_ports(r, ports, n_ports))
			continue;
		if (ended(w, r) || moved(w, r))
			return true;
	}
	return false;
}

static struct port_use *use_of(struct port_use *uses, size_t *n, uint16_t port)
{
	for (size_t i = 0; i < *n; i++)
		if (uses[i].port == port)
			return &uses[i];
	if (*n == WATCH_PORTS_MAX)
		return NULL;
	uses[*n] = (struct port_use) {.port = port};
	return &uses[(*n)++];
}

static int busiest(const void *a, const void *b)
{
	const struct port_use *x = a, *y = b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return (int)y->ended - (int)x->ended;
}

/* Server ends of local connections, by port, busiest first */
static size_t tally(const struct watch *w, struct port_use *uses)
{
	size_t n = 0;
	for (size_t i = 0; i < w->after.n_rows; i++) {
		const struct snapshot_row *r = &w->after.rows[i];
		bool over = ended(w, r);
		struct port_use *u = NULL;
		if (r->local && !r->own && (r->server || over))
			u = use_of(uses, &n, r->port);
		if (!u)
			continue;
		u->ended += over;
		u->bytes += moved(w, r);
		u->open += r->state == SOCKS_ESTABLISHED;
		u->silent += r->state == SOCKS_ESTABLISHED && r->has_bytes && r->bytes == 0;
	}
	qsort(uses, n, sizeof(*uses), busiest);
	return n;
}

static void owner(const struct watch *w, uint16_t port, char *out, size_t n)
{
	const struct snapshot_listen *l = snapshot_listen(&w->after, port);
	char name[160] = "";
	if (l)
		snapshot_owner(w->socks, l->inode, name, sizeof(name));
	snprintf(out, n, *name ? " (%s)" : "%s", name);
}

static void put_ports(FILE *out, const uint16_t *ports, size_t n)
{
	for (size_t i = 0; i < n && i < 4; i++)
		fprintf(out, "%s%u", i ? ", " : n > 1 ? " on ports " : " on port ", ports[i]);
	if (n > 4)
		fprintf(out, " and %zu more", n - 4);
}

/* A connection of another host to a chosen port that moved bytes */
static const struct snapshot_row *from_outside(const struct watch *w, const uint16_t *ports,
					       size_t n)
{
	for (size_t i = 0; i < w->after.n_rows; i++) {
		const struct snapshot_row *r = &w->after.rows[i];
		if (!r->local && !r->own && on_ports(r, ports, n) && moved(w, r))
			return r;
	}
	return NULL;
}

static void put_outside(FILE *out, const struct snapshot_row *r)
{
	static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
	char text[INET6_ADDRSTRLEN] = "";
	bool is_v4 = memcmp(r->t.remote, v4, 12) == 0;
	inet_ntop(is_v4 ? AF_INET : AF_INET6, r->t.remote + (is_v4 ? 12 : 0), text, sizeof(text));
	fprintf(out,
		"its bytes go to and from other hosts (%s), not over loopback: try --interface any",
		text);
}

/* What there is on the chosen ports themselves */
static void put_chosen(struct watch *w, FILE *out, const uint16_t *ports, size_t n_ports,
		       const struct port_use *uses, size_t n)
{
	struct port_use all = {0};
	char who[170] = "";
	bool listens = false;

	for (size_t i = 0; i < n; i++) {
		if (!chosen(ports, n_ports, uses[i].port, 0))
			continue;
		all.bytes += uses[i].bytes;
		all.open += uses[i].open;
		all.ended += uses[i].ended;
		all.silent += uses[i].silent;
	}
	for (size_t i = 0; i < n_ports && !listens; i++)
		if ((listens = snapshot_listen(&w->after, ports[i])))
			owner(w, ports[i], who, sizeof(who));
	const struct snapshot_row *outside =
		w->any_interface ? NULL : from_outside(w, ports, n_ports);
	if (watch_moving(w, ports, n_ports))
		fprintf(out, "yet %s moved there%s: this way to attach does not see it",
			all.bytes ? units_bytes(all.bytes).s : "data", who);
	else if (n_ports && outside)
		put_outside(out, outside);
	else if (all.silent)
		fprintf(out,
			"%u open connection%s never carried a byte over TCP: idle, or a sockmap "
			"(Merbridge, old Cilium) carries them past every packet hook",
			all.silent, all.silent == 1 ? "" : "s");
	else if (all.open)
		fprintf(out, "%u connection%s%s, no byte moved", all.open, all.open == 1 ? "" : "s",
			n_ports ? " there" : "");
	else if (n_ports && listens)
		fprintf(out, "a process%s listens there, nobody is connected", who);
	else
		fputs(n_ports ? "no socket has that port" : "no loopback connection is open", out);
}

/* Busy ports that were not chosen. False: there is none. */
static bool put_elsewhere(const struct watch *w, FILE *out, const uint16_t *ports, size_t n_ports,
			  const struct port_use *uses, size_t n)
{
	unsigned shown = 0;
	uint16_t best = 0;
	for (size_t i = 0; n_ports && i < n && shown < WATCH_PORTS_SHOWN; i++) {
		char who[170];
		if (chosen(ports, n_ports, uses[i].port, 0) || (!uses[i].bytes && !uses[i].ended))
			continue;
		owner(w, uses[i].port, who, sizeof(who));
		fprintf(out, "%s%u%s", shown ? ", " : "; loopback bytes move on ", uses[i].port,
			who);
		best = best ? best : uses[i].port;
		shown++;
	}
	if (shown)
		fprintf(out, ": try -p %u", best);
	return shown != 0;
}

static void put_unix(FILE *out)
{
	struct snapshot_unix u;
	if (snapshot_unix(&u) < 0 || u.connected < 2)
		return;
	fprintf(out, "; %u UNIX stream connections are open", u.connected / 2);
	if (u.top[0].n)
		fprintf(out, " (%s)", u.top[0].path);
	fputs(", which no packet hook sees", out);
}

static void explain(struct watch *w, FILE *out, const uint16_t *ports, size_t n_ports,
		    struct port_use *uses)
{
	compare(w);
	size_t n = tally(w, uses);
	fprintf(out, " after %.0f s: ", (double)(w->end_ns - w->begin_ns) / 1e9);
	put_chosen(w, out, ports, n_ports, uses, n);
	if (!put_elsewhere(w, out, ports, n_ports, uses, n) && !watch_moving(w, ports, n_ports))
		put_unix(out);
	fputc('\n', out);
}

void watch_explain(struct watch *w, FILE *out, const uint16_t *ports, size_t n_ports)
{
	struct port_use *uses = w ? calloc(WATCH_PORTS_MAX, sizeof(*uses)) : NULL;
	fputs("sidetap: nothing captured", out);
	put_ports(out, ports, n_ports);
	if (uses)
		explain(w, out, ports, n_ports, uses);
	else
		fputs(" yet, and sock_diag, which would tell why, is not to be had here\n", out);
	free(uses);
}
