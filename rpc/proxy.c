/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol's preamble, version 1 (a text line) and 2 (binary), as specified in HAProxy's
 * doc/proxy-protocol.txt. It is no message: the client's direction switches behind it, the server's at once
 * when it was read. TLVs are skipped.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "rpc/protocols.h"

enum { V1_LINE_MAX = 107, V2_HEAD = 16, ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN + 8 };

static const struct bytes v1_start = BYTES("PROXY ");
static const struct bytes v2_start = BYTES("\r\n\r\n\0\r\nQUIT\n");

struct proxy {
	bool done, bad;
};

struct proxy_ends {
	struct attribute list[2];
	char text[2][ADDRESS_TEXT_MAX];
};

static _Thread_local struct proxy_ends ends;

static void end_set(unsigned i, const char *address, bool v6, unsigned port)
{
	int n = snprintf(ends.text[i], sizeof(ends.text[i]), v6 ? "[%s]:%u" : "%s:%u", address,
			 port);

	ends.list[i] = (struct attribute) {i ? "proxy_destination" : "proxy_source",
					   bytes_of(ends.text[i], (size_t)n)};
}

/* The next word of a v1 line; false when it is empty, does not fit, or is not followed by `end`. */
static bool word_take(struct cursor *c, char *to, size_t size, char end)
{
	size_t n = 0;

	while (cursor_left(c) && *c->p != (uint8_t)end && n + 1 < size)
		to[n++] = (char)cursor_u8(c);
	to[n] = '\0';
	return n > 0 && cursor_u8(c) == (uint8_t)end;
}

static bool port_parse(const char *s, unsigned *port)
{
	*port = 0;
	for (const char *p = s; *p; p++) {
		if (*p < '0' || *p > '9' || p - s > 4)
			return false;
		*port = *port * 10 + (unsigned)(*p - '0');
	}
	return *port <= 65535 && (s[0] != '0' || s[1] == '\0');
}

/* `line` ends with CR. 0 or 2 ends, -EPROTO. */
static int v1_parse(struct bytes line)
{
	struct cursor c = cursor_of(bytes_from(line, v1_start.n));
	char address[2][INET6_ADDRSTRLEN], port[2][6], scratch[16];

	if (bytes_starts(bytes_from(line, v1_start.n), BYTES("UNKNOWN")))
		return 0;
	bool v6 = bytes_starts(bytes_from(line, v1_start.n), BYTES("TCP6 "));
	cursor_take(&c, 5);
	if (!word_take(&c, address[0], sizeof(address[0]), ' ') ||
	    !word_take(&c, address[1], sizeof(address[1]), ' ') ||
	    !word_take(&c, port[0], sizeof(port[0]), ' ') ||
	    !word_take(&c, port[1], sizeof(port[1]), '\r') || cursor_left(&c))
		return -EPROTO;
	for (unsigned i = 0; i < 2; i++) {
		unsigned number;
		if (inet_pton(v6 ? AF_INET6 : AF_INET, address[i], scratch) != 1 ||
		    !port_parse(port[i], &number))
			return -EPROTO;
		end_set(i, address[i], v6, number);
	}
	return 2;
}

/* `in` is the whole preamble. 0 or 2 ends, -EPROTO. */
static int v2_parse(struct bytes in)
{
	struct cursor c = cursor_of(bytes_from(in, v2_start.n));
	uint8_t command = cursor_u8(&c), family = cursor_u8(&c);
	char text[INET6_ADDRSTRLEN];

	cursor_be16(&c);
	if ((command >> 4) != 2 || (command & 15) > 1)
		return -EPROTO;
	if ((command & 15) == 0 || ((family >> 4) != 1 && (family >> 4) != 2))
		return 0; /* LOCAL, UNSPEC, UNIX */
	bool v6 = (family >> 4) == 2;
	size_t size = v6 ? 16 : 4;
	struct bytes a[2];
	a[0] = cursor_take(&c, size);
	a[1] = cursor_take(&c, size);
	unsigned port[2];
	port[0] = cursor_be16(&c);
	port[1] = cursor_be16(&c);
	if (c.bad)
		return -EPROTO;
	for (unsigned i = 0; i < 2; i++) {
		inet_ntop(v6 ? AF_INET6 : AF_INET, a[i].p, text, sizeof(text));
		end_set(i, text, v6, port[i]);
	}
	return 2;
}

static enum probe_answer starts(struct bytes in, struct bytes want)
{
	if (!bytes_starts(in, bytes_head(want, in.n)))
		return PROBE_NO;
	return in.n < want.n ? PROBE_MORE : PROBE_YES;
}

static enum probe_answer starts_any(struct bytes in, const struct bytes *want, size_t n)
{
	enum probe_answer a = PROBE_NO;

	for (size_t i = 0; i < n && a != PROBE_YES; i++) {
		enum probe_answer b = starts(in, want[i]);
		a = b == PROBE_NO ? a : b;
	}
	return a;
}

/* The word behind PROXY tells a preamble from an HTTP request with that method. */
static enum probe_answer preamble(struct bytes in)
{
	const struct bytes words[] = {BYTES("TCP4 "), BYTES("TCP6 "), BYTES("UNKNOWN\r"),
				      BYTES("UNKNOWN ")};
	enum probe_answer a = starts(in, v1_start);

	if (a == PROBE_YES)
		return starts_any(bytes_from(in, v1_start.n), words, 4);
	return a == PROBE_MORE ? a : starts(in, v2_start);
}

static enum probe_answer proxy_probe(struct bytes request, struct bytes response)
{
	(void)response;
	return request.n ? preamble(request) : PROBE_MORE;
}

static int proxy_init(void *state, const struct framer_limits *limits, bool late)
{
	(void)limits;
	((struct proxy *)state)->done = late; /* its place is the first byte of a connection */
	return 0;
}

/* > 0: length of the preamble; 0: wants *need; -EPROTO */
static int64_t preamble_length(struct bytes in, size_t *need)
{
	enum probe_answer a = preamble(in);

	if (a != PROBE_YES)
		return a == PROBE_MORE ? 0 : -EPROTO;
	if (in.p[0] == 'P') {
		const uint8_t *lf = memchr(in.p, '\n', bytes_head(in, V1_LINE_MAX).n);
		if (!lf)
			return in.n < V1_LINE_MAX ? 0 : -EPROTO;
		return lf[-1] == '\r' ? lf - in.p + 1 : -EPROTO;
	}
	*need = V2_HEAD;
	if (in.n < V2_HEAD)
		return 0;
	*need = V2_HEAD + (size_t)(in.p[14] << 8 | in.p[15]);
	return in.n < *need ? 0 : (int64_t)*need;
}

static int64_t preamble_take(struct proxy *p, struct bytes in, struct piece *out, size_t *need)
{
	int64_t n = p->bad ? -EPROTO : in.n ? preamble_length(in, need) : 0;
	int found = 0;

	if (n > 0)
		found = in.p[0] == 'P' ? v1_parse(bytes_head(in, (size_t)n - 1))
				       : v2_parse(bytes_head(in, (size_t)n));
	if (n < 0 || found < 0) {
		p->bad = true;
		out->flags = FLAG_PROTOCOL_ERROR;
		return -EPROTO;
	}
	if (n == 0)
		return 0;
	p->done = true;
	out->what = PIECE_SWITCH;
	out->head.attributes = ends.list;
	out->head.n_attributes = (size_t)found;
	return n;
}

static int64_t proxy_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	struct proxy *p = state;

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (dir == DIR_REQUEST && !p->done)
		return preamble_take(p, in, out, need);
	if (p->bad && dir == DIR_RESPONSE) {
		out->flags = FLAG_PROTOCOL_ERROR;
		return -EPROTO;
	}
	out->what = p->done ? PIECE_SWITCH : 0;
	return 0;
}

/* Lost before its end: what follows is looked at without it. */
static int proxy_gap(void *state, enum dir dir, uint64_t n)
{
	(void)dir, (void)n;
	((struct proxy *)state)->done = true;
	return -EPROTO;
}

static int proxy_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	(void)dir, (void)in, (void)hints;
	*skip = 0;
	return ((struct proxy *)state)->done;
}

static void proxy_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	(void)state, (void)how;
	*out = (struct piece) {.dir = dir};
}

static void proxy_fini(void *state)
{
	(void)state;
}

const struct framer_ops framer_proxy = {
	.name = "proxy",
	.state_size = sizeof(struct proxy),
	.pairing = PAIRING_FIFO,
	.probe = proxy_probe,
	.init = proxy_init,
	.next = proxy_next,
	.gap = proxy_gap,
	.resync = proxy_resync,
	.end = proxy_end,
	.fini = proxy_fini,
};
