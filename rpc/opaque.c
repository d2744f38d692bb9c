/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nobody can read: one call for the connection, its bytes only counted. TLS is named, with what its
 * ClientHello says in the clear (RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301 section 3.1). What both
 * directions surely are is the attribute app_protocol, given with the head of the direction that speaks second.
 */
#include "rpc/opaque_name.h"
#include "rpc/prober.h"
#include "rpc/protocols.h"

enum { ALPN_TEXT_MAX = 128 };

struct opaque_side {
	bool started, ended;
	bool last; /* nothing follows: a ClientHello stays cut */
	bool holed; /* bytes were lost before the first one: they are no ClientHello */
	uint64_t missing;
};

struct opaque {
	struct opaque_side side[2];
	bool named; /* or never will be */
	uint8_t head_n;
	uint8_t head
		[OPAQUE_NAME_HEAD]; /* of the direction that spoke first, while the other has not */
};

struct opaque_names {
	struct attribute list[4];
	size_t n;
	char alpn[ALPN_TEXT_MAX];
};

static _Thread_local struct opaque_names names;

static void name_add(const char *name, struct bytes value)
{
	if (value.n && names.n < sizeof(names.list) / sizeof(names.list[0]))
		names.list[names.n++] = (struct attribute) {name, value};
}

static struct bytes take16(struct cursor *c)
{
	return cursor_take(c, cursor_be16(c));
}

static struct bytes sni_parse(struct bytes ext)
{
	struct cursor c = cursor_of(ext);

	cursor_be16(&c);
	return cursor_u8(&c) == 0 ? take16(&c) : (struct bytes) {NULL, 0};
}

/* The offered protocols, joined by commas; those that still fit. */
static struct bytes alpn_parse(struct bytes ext)
{
	struct cursor c = cursor_of(ext);
	size_t n = 0;

	cursor_be16(&c);
	while (cursor_left(&c)) {
		struct bytes p = cursor_take(&c, cursor_u8(&c));
		if (p.n == 0 || n + p.n + 1 > sizeof(names.alpn))
			break;
		if (n)
			names.alpn[n++] = ',';
		memcpy(names.alpn + n, p.p, p.n);
		n += p.n;
	}
	return bytes_of(names.alpn, n);
}

/* `record` may end early: what it shows until there is taken. */
static void hello_parse(struct bytes record)
{
	struct cursor c = cursor_of(record);

	cursor_take(&c, 5 + 4 + 2 + 32); /* record, handshake, version, random */
	cursor_take(&c, cursor_u8(&c)); /* session */
	take16(&c); /* cipher suites */
	cursor_take(&c, cursor_u8(&c)); /* compression */
	cursor_be16(&c);
	while (cursor_left(&c)) {
		uint16_t type = cursor_be16(&c);
		struct bytes ext = take16(&c);
		if (type == 0)
			name_add("tls.sni", sni_parse(ext));
		else if (type == 16)
			name_add("tls.alpn", alpn_parse(ext));
	}
}

/* Fills `names`. 0, or how many bytes are needed to tell. */
static size_t tls_parse(struct bytes in)
{
	names.n = 0;
	if (in.p[0] < 0x14 || in.p[0] > 0x17 || (in.n > 1 && in.p[1] != 3) ||
	    (in.n > 2 && in.p[2] > 4))
		return 0;
	if (in.n < 6)
		return 6;
	size_t whole = 5 + (size_t)(in.p[3] << 8 | in.p[4]);
	if (whole > PROBER_HEAD_MAX)
		whole = PROBER_HEAD_MAX;
	bool hello = in.p[0] == 0x16 && in.p[5] == 1;
	if (hello && in.n < whole)
		return whole;
	name_add("tls", BYTES("1"));
	if (hello)
		hello_parse(bytes_head(in, whole));
	return 0;
}

/* The start of a TLS record is all that will come. */
static void tls_cut(struct bytes in)
{
	if (in.n < 3)
		return;
	name_add("tls", BYTES("1"));
	if (in.n > 6 && in.p[0] == 0x16 && in.p[5] == 1)
		hello_parse(in);
}

/* ---- what both directions say ---- */

static void head_keep(struct opaque *o, struct bytes in)
{
	in = bytes_head(in, OPAQUE_NAME_HEAD - (size_t)o->head_n);
	memcpy(o->head + o->head_n, in.p, in.n);
	o->head_n += (uint8_t)in.n;
}

/* The second direction's first bytes. False: more of them are needed to tell. */
static bool both_name(struct opaque *o, enum dir dir, struct bytes in)
{
	struct bytes first = bytes_of(o->head, o->head_n);
	bool more, final = o->side[dir].last || in.n >= PROBER_HEAD_MAX;
	const char *name = dir == DIR_REQUEST ? opaque_name(in, first, DIR_RESPONSE, final, &more)
					      : opaque_name(first, in, DIR_REQUEST, final, &more);
	if (more && first.n)
		return false;
	if (name)
		name_add("app_protocol", bytes_str(name));
	o->named = true;
	return true;
}

static void opaque_last(void *state, enum dir dir)
{
	((struct opaque *)state)->side[dir].last = true;
}

static enum probe_answer opaque_probe(struct bytes request, struct bytes response)
{
	(void)request, (void)response;
	return PROBE_YES;
}

static int opaque_init(void *state, const struct framer_limits *limits, bool late)
{
	(void)state, (void)limits, (void)late;
	return 0;
}

static int64_t opaque_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			   size_t *need)
{
	struct opaque *o = state;
	struct opaque_side *s = &o->side[dir];
	bool second = o->side[!dir].started;

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (in.n == 0 || s->ended)
		return 0;
	if (!s->started) {
		names.n = 0;
		if (dir == DIR_REQUEST && !s->holed)
			*need = tls_parse(in);
		if (*need && !s->last)
			return 0;
		if (*need)
			tls_cut(in);
		*need = 0;
		if (second && !o->named && !s->holed && !both_name(o, dir, in))
			return 0;
		s->started = true;
		out->what = PIECE_HEAD;
		out->head.attributes = names.list;
		out->head.n_attributes = names.n;
		out->head.type = CALL_STREAM;
		out->head.count_only = true;
	}
	if (!second && !s->holed)
		head_keep(o, in);
	out->what |= PIECE_BODY;
	out->body = in;
	out->missing = s->missing;
	s->missing = 0;
	return (int64_t)in.n;
}

static int opaque_gap(void *state, enum dir dir, uint64_t n)
{
	struct opaque_side *s = &((struct opaque *)state)->side[dir];

	s->holed = true;
	s->missing += n;
	return 0;
}

static int opaque_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	(void)state, (void)dir, (void)in, (void)hints;
	*skip = 0;
	return 1;
}

static void opaque_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	struct opaque_side *s = &((struct opaque *)state)->side[dir];

	*out = (struct piece) {.dir = dir};
	if (s->ended || (!s->started && !s->missing))
		return;
	if (!s->started) { /* all of it was lost */
		out->what = PIECE_HEAD;
		out->head.type = CALL_STREAM;
		out->head.count_only = true;
	}
	out->what |= how == END_FIN ? PIECE_END : PIECE_ABORT;
	out->missing = s->missing;
	s->missing = 0;
	s->ended = true;
}

static void opaque_fini(void *state)
{
	(void)state;
}

const struct framer_ops framer_opaque = {
	.name = "opaque",
	.state_size = sizeof(struct opaque),
	.pairing = PAIRING_TUNNEL,
	.skips_bodies = true,
	.probe = opaque_probe,
	.init = opaque_init,
	.next = opaque_next,
	.gap = opaque_gap,
	.resync = opaque_resync,
	.last = opaque_last,
	.end = opaque_end,
	.fini = opaque_fini,
};
