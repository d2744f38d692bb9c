/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/theader_head.h"

#include <stdalign.h>
#include <zlib.h>

#include "rpc/sized.h"

enum { INFO_PADDING = 0, INFO_KEYVALUE = 1, INFO_PERSISTENT = 2 };
enum { TRANSFORM_ZLIB = 1, TRANSFORM_LAST = 5 };
enum { PROTOCOL_BINARY = 0, PROTOCOL_COMPACT = 2 };
enum { INFLATE_BYTES = 96 * 1024 };

static _Thread_local struct header fields[THEADER_HEADERS_MAX];

/* zlib's state and window live here for good: inflating asks nobody for memory. */
static _Thread_local struct {
	z_stream z;
	bool ready;
	size_t used;
	alignas(16) uint8_t memory[INFLATE_BYTES];
	uint8_t out[THEADER_LOOK];
} inflater;

static void *memory_take(void *ctx, unsigned n, unsigned size)
{
	size_t want = ((size_t)n * size + 15) & ~(size_t)15;

	(void)ctx;
	if (want > INFLATE_BYTES - inflater.used)
		return NULL;
	inflater.used += want;
	return inflater.memory + inflater.used - want;
}

static void memory_give(void *ctx, void *p)
{
	(void)ctx, (void)p;
}

/* The first bytes of what `in` holds, which may end early; empty when it is no zlib. */
static struct bytes inflate_start(struct bytes in)
{
	z_stream *z = &inflater.z;

	if (!inflater.ready) {
		z->zalloc = memory_take;
		z->zfree = memory_give;
		inflater.ready = inflateInit(z) == Z_OK;
	} else {
		inflater.ready = inflateReset(z) == Z_OK;
	}
	if (!inflater.ready)
		return bytes_of(NULL, 0);
	z->next_in = (uint8_t *)(uintptr_t)in.p;
	z->avail_in = (unsigned)in.n;
	z->next_out = inflater.out;
	z->avail_out = sizeof(inflater.out);
	inflate(z, Z_SYNC_FLUSH); /* what came out until a fault is there all the same */
	return bytes_of(inflater.out, sizeof(inflater.out) - z->avail_out);
}

int theader_frame_parse(struct bytes in, struct theader_frame *f)
{
	static const uint8_t magic[] = {0x0f, 0xff};
	struct cursor c = cursor_of(in);

	if (in.n > 0 && in.p[0] > 0x3f)
		return -1;
	if (in.n > 4 && !bytes_starts(bytes_of(magic, 2), bytes_head(bytes_from(in, 4), 2)))
		return -1;
	if (in.n < THEADER_FIXED)
		return 0;
	f->len = cursor_be32(&c);
	cursor_be32(&c); /* magic, flags */
	f->seq = cursor_be32(&c);
	f->payload_off = THEADER_FIXED + 4 * (size_t)cursor_be16(&c);
	if (f->payload_off - 4 > f->len || f->payload_off == THEADER_FIXED)
		return -1;
	f->payload = (uint64_t)f->len + 4 - f->payload_off;
	return 1;
}

static uint32_t varint_take(struct cursor *c)
{
	uint32_t v = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		uint8_t b = cursor_u8(c);
		v |= (uint32_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static void pairs_parse(struct cursor *c, size_t max, struct theader_head *h)
{
	for (uint32_t n = varint_take(c); n && !c->bad; n--) {
		struct bytes name = cursor_take(c, varint_take(c));
		struct bytes value = cursor_take(c, varint_take(c));
		if (c->bad)
			return;
		if (h->n_headers == max)
			h->cap = "theader_headers";
		else if (!sized_is_name(name))
			h->cap = "theader_name";
		else
			fields[h->n_headers++] = (struct header) {name, value, PROVENANCE_LITERAL};
	}
}

/* What follows a block of unknown kind cannot be told apart from it: the rest is passed over. */
static void info_parse(struct cursor *c, size_t max, struct theader_head *h)
{
	while (cursor_left(c)) {
		uint32_t id = varint_take(c);
		if (id == INFO_KEYVALUE || id == INFO_PERSISTENT) {
			pairs_parse(c, max, h);
		} else {
			h->strict = id == INFO_PADDING && cursor_left(c) < 4;
			return;
		}
	}
}

static bool header_parse(struct bytes in, size_t max, struct theader_head *h)
{
	struct cursor c = cursor_of(in);

	h->strict = true;
	h->protocol = (uint8_t)varint_take(&c);
	uint32_t n = varint_take(&c);
	if (n > THEADER_TRANSFORMS_MAX)
		return false;
	h->n_transforms = (uint8_t)n;
	bool known = h->protocol == PROTOCOL_BINARY || h->protocol == PROTOCOL_COMPACT;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t t = varint_take(&c);
		h->transforms[i] = t < UINT8_MAX ? (uint8_t)t : UINT8_MAX;
		known &= t > 0 && t <= TRANSFORM_LAST;
	}
	info_parse(&c, max, h);
	h->headers = fields;
	h->strict &= known;
	return !c.bad;
}

static void message_read(struct bytes payload, struct theader_head *h)
{
	struct thrift_message *m = &h->message;
	size_t need;

	if (thrift_message_parse(payload, false, m, &need) != 1)
		return;
	h->readable = true;
	if (m->type == THRIFT_REPLY || m->type == THRIFT_EXCEPTION)
		h->result =
			thrift_result_read(m->form, m->type, bytes_from(payload, m->struct_off));
}

bool theader_head_parse(struct bytes in, const struct theader_frame *f, size_t look,
			size_t max_headers, struct theader_head *h)
{
	struct bytes header = bytes_of(in.p + THEADER_FIXED, f->payload_off - THEADER_FIXED);
	size_t n = f->payload < look ? (size_t)f->payload : look;
	struct bytes payload = bytes_head(bytes_from(in, f->payload_off), n);
	size_t max = max_headers < THEADER_HEADERS_MAX ? max_headers : THEADER_HEADERS_MAX;

	*h = (struct theader_head) {0};
	if (!header_parse(header, max, h))
		return false;
	if (h->n_transforms == 1 && h->transforms[0] == TRANSFORM_ZLIB)
		message_read(inflate_start(payload), h);
	else if (h->n_transforms == 0)
		message_read(payload, h);
	return true;
}
