/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/hpack.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

enum {
	STATIC_ENTRIES = 61,
	ENTRY_COST = 32, /* RFC 7541 4.1 */
	ENTRIES_MAX = HPACK_TABLE_MAX / ENTRY_COST,
	RESERVE_FIELDS = 8,
	RESERVE_TEXT = 8192,
};

struct scratch {
	struct header fields[HPACK_FIELDS_MAX + RESERVE_FIELDS];
	uint8_t text[HPACK_BLOCK_MAX + RESERVE_TEXT];
	uint8_t block[HPACK_BLOCK_MAX];
};

static _Thread_local struct scratch *scratch;
static atomic_int large_tables;

int hpack_scratch(void)
{
	if (!scratch)
		scratch = malloc(sizeof(*scratch));
	return scratch ? 0 : -ENOMEM;
}

uint8_t *hpack_scratch_block(void)
{
	return scratch->block;
}

/* ---- the list ---- */

struct listing {
	struct hpack_list *out;
	size_t text, cost; /* of the fields so far */
	size_t bytes_max, count_max;
};

static bool ends_a_call(struct bytes name)
{
	return bytes_eq(name, BYTES("grpc-status")) || bytes_eq(name, BYTES("grpc-message")) ||
	       bytes_eq(name, BYTES("content-type"));
}

static struct bytes text_put(struct listing *l, struct bytes b)
{
	uint8_t *to = scratch->text + l->text;

	if (b.n)
		memcpy(to, b.p, b.n);
	l->text += b.n;
	return bytes_of(to, b.n);
}

static void field_put(struct listing *l, struct bytes name, struct bytes value,
		      enum provenance provenance)
{
	struct hpack_list *out = l->out;
	size_t n = name.n + value.n;

	l->cost += n + ENTRY_COST;
	if (!out->cap && l->cost > l->bytes_max)
		out->cap = "header_bytes";
	else if (!out->cap && out->n == l->count_max)
		out->cap = "header_count";
	if (out->cap && (!ends_a_call(name) || out->n == HPACK_FIELDS_MAX + RESERVE_FIELDS ||
			 l->text + n > sizeof(scratch->text)))
		return;
	struct header *f = &scratch->fields[out->n++];
	f->name = text_put(l, name);
	f->value = text_put(l, value);
	f->provenance = provenance;
}

/* ---- the table ---- */

static size_t entries(const struct hpack *h)
{
	return nghttp2_hd_inflate_get_num_table_entries(h->inflater) - STATIC_ENTRIES;
}

/* Gives bytes to the inflater, until it has a field. How many it took, or the error. */
static int64_t feed(struct hpack *h, struct bytes in, bool final, nghttp2_nv *nv, int *flags)
{
	ssize_t n = nghttp2_hd_inflate_hd2(h->inflater, nv, flags, in.p, in.n, final);

	if (n == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	return n < 0 ? -EPROTO : n;
}

static int feed_all(struct hpack *h, struct bytes in)
{
	nghttp2_nv nv;
	int flags = 0;
	int64_t n = feed(h, in, false, &nv, &flags);

	return n < 0                                                      ? (int)n
	       : n == (int64_t)in.n && !(flags & NGHTTP2_HD_INFLATE_EMIT) ? 0
									  : -EPROTO;
}

/* RFC 7541 5.1, with `prefix` bits set in the first byte. false: cut, or beyond 32 bits. */
static bool integer_read(struct cursor *c, uint8_t prefix, uint32_t *v)
{
	uint64_t x = cursor_u8(c) & prefix;
	uint8_t b = 0x80;

	for (unsigned shift = 0; x >= prefix && (b & 0x80); shift += 7) {
		if (shift > 28)
			return false;
		b = cursor_u8(c);
		x += (uint64_t)(b & 0x7f) << shift;
		if (c->bad)
			return false;
	}
	*v = (uint32_t)x;
	return x <= UINT32_MAX;
}

static size_t integer_write(uint8_t out[6], uint8_t first, uint8_t prefix, uint32_t v)
{
	size_t n = 0;

	if (v < prefix) {
		out[n++] = (uint8_t)(first | v);
		return n;
	}
	out[n++] = first | prefix;
	for (v -= prefix; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

static int table_resize(struct hpack *h, uint32_t size)
{
	uint8_t update[6];

	return feed_all(h, bytes_of(update, integer_write(update, 0x20, 0x1f, size)));
}

/* What is beyond our table although entries fell out of it may be one of those: the sender's is larger. */
static void table_short(struct hpack *h)
{
	if (!h->late || h->large || h->grow || h->refused || h->inserted <= entries(h))
		return;
	if (atomic_fetch_add(&large_tables, 1) < HPACK_LATE_TABLES_MAX) {
		h->grow = h->large = true;
		return;
	}
	atomic_fetch_sub(&large_tables, 1);
	h->refused = true;
}

static int table_open(struct hpack *h)
{
	if (!h->inflater) {
		int r = nghttp2_hd_inflate_new(&h->inflater);
		if (r == 0)
			r = nghttp2_hd_inflate_change_table_size(h->inflater, HPACK_TABLE_MAX);
		if (r != 0)
			return -ENOMEM;
	}
	if (!h->grow)
		return 0;
	h->grow = false;
	return table_resize(h, HPACK_TABLE_MAX);
}

void hpack_reset(struct hpack *h, bool late)
{
	if (h->inflater)
		nghttp2_hd_inflate_del(h->inflater);
	if (h->large)
		atomic_fetch_sub(&large_tables, 1);
	*h = (struct hpack) {.late = late};
}

/* ---- a block ---- */

struct block {
	struct hpack *h;
	struct bytes in;
	struct listing list;
};

static int size_update(struct block *b, struct cursor *c, uint32_t size_max)
{
	uint32_t size;

	if (!integer_read(c, 0x1f, &size) || size > size_max)
		return -EPROTO;
	if (size > HPACK_TABLE_MAX) {
		size = HPACK_TABLE_MAX;
		b->h->late = true;
	}
	return table_resize(b->h, size);
}

/* An index beyond the table: of an entry from before, or of nothing that a table can hold? */
static bool from_before(struct hpack *h, uint32_t index)
{
	return h->late && index <= STATIC_ENTRIES + ENTRIES_MAX;
}

/* The representation that begins at the `at`-th byte, through the inflater. */
static int field_feed(struct block *b, size_t at, uint32_t index, struct cursor *c)
{
	nghttp2_nv nv;
	int flags = 0;
	struct bytes in = bytes_from(b->in, at);
	int64_t n = feed(b->h, in, false, &nv, &flags);

	if (n < 0)
		return (int)n;
	if (!(flags & NGHTTP2_HD_INFLATE_EMIT))
		return -EPROTO;
	struct bytes name = bytes_of(nv.name, nv.namelen);
	enum provenance from = index > STATIC_ENTRIES ? PROVENANCE_OBSERVED : PROVENANCE_LITERAL;
	if (b->h->late && bytes_eq(name, BYTES("?"))) {
		name.n = 0;
		from = PROVENANCE_UNKNOWN;
	}
	field_put(&b->list, name, bytes_of(nv.value, nv.valuelen), from);
	*c = cursor_of(bytes_from(in, (size_t)n));
	return 0;
}

/* A literal whose name is from before: the inflater gets "?" for it. */
static int unnamed_feed(struct block *b, uint8_t first, struct cursor *c)
{
	const uint8_t literal[] = {first & 0x40, 1, '?'};
	int r = feed_all(b->h, bytes_of(literal, sizeof(literal)));

	b->list.out->unknown_whole = false;
	return r < 0 ? r : field_feed(b, (size_t)(c->p - b->in.p), 0, c);
}

/* Indices grow by one with each insertion: without those the number is the entry's own. */
static void unknown_note(struct hpack_list *list, uint32_t entry)
{
	if (list->n_unknown < HPACK_UNKNOWN_MAX)
		list->unknown[list->n_unknown++] = entry;
	else
		list->unknown_whole = false;
}

static int field_read(struct block *b, struct cursor *c)
{
	struct hpack *h = b->h;
	uint8_t first = c->p[0];
	size_t at = (size_t)(c->p - b->in.p);
	uint32_t index;

	if (!integer_read(c, first & 0x80 ? 0x7f : first & 0x40 ? 0x3f : 0x0f, &index))
		return -EPROTO;
	bool beyond = index > STATIC_ENTRIES && index > STATIC_ENTRIES + entries(h);
	if (beyond && !from_before(h, index))
		return -EPROTO;
	if (beyond)
		table_short(h);
	h->inserted += (first & 0xc0) == 0x40;
	if (!beyond)
		return field_feed(b, at, index, c);
	if (!(first & 0x80))
		return unnamed_feed(b, first, c);
	unknown_note(b->list.out, index - STATIC_ENTRIES - (uint32_t)h->inserted);
	field_put(&b->list, bytes_of(NULL, 0), bytes_of(NULL, 0), PROVENANCE_UNKNOWN);
	return 0;
}

static int block_read(struct block *b, uint32_t size_max)
{
	struct cursor c = cursor_of(b->in);
	bool begun = false;
	nghttp2_nv nv;
	int flags = 0, r;

	while (cursor_left(&c)) {
		bool update = (c.p[0] & 0xe0) == 0x20;
		if (update && begun)
			return -EPROTO; /* RFC 7541 4.2: at the beginning only */
		r = update ? size_update(b, &c, size_max) : field_read(b, &c);
		if (r < 0)
			return r;
		begun |= !update;
	}
	int64_t n = feed(b->h, bytes_of(&flags, 0), true, &nv, &flags);
	if (n < 0)
		return (int)n;
	nghttp2_hd_inflate_end_headers(b->h->inflater);
	return 0;
}

int hpack_decode(struct hpack *h, struct bytes block, uint32_t size_max,
		 const struct framer_limits *limits, struct hpack_list *out)
{
	bool refused = h->refused;

	*out = (struct hpack_list) {.fields = scratch->fields, .unknown_whole = true};
	struct block b = {h, block, {.out = out}};
	b.list.bytes_max =
		limits->header_bytes < HPACK_BLOCK_MAX ? limits->header_bytes : HPACK_BLOCK_MAX;
	b.list.count_max =
		limits->header_count < HPACK_FIELDS_MAX ? limits->header_count : HPACK_FIELDS_MAX;
	int r = table_open(h);
	if (r == 0)
		r = block_read(&b, size_max);
	out->late_cap = h->refused && !refused ? "hpack_late_tables" : NULL;
	return r;
}
