/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks by fault, and late joins against an encoder that uses every representation at random, with tables of
 * 0 to 64 KiB: what is told is what was sent.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/hpack.h"
#include "tests/unit/drive.h"
#include "tests/unit/drive_check.h"

static const struct framer_limits limits = {64 * 1024, 256, 1024, 64 << 20};

static int setup(void **state)
{
	(void)state;
	return hpack_scratch();
}

static int decode(struct hpack *h, struct bytes b, struct hpack_list *l)
{
	return hpack_decode(h, b, HPACK_TABLE_MAX, &limits, l);
}

/* ---- an encoder ---- */

enum { NAMES = 40, VALUES = 12, ENTRIES_MAX = 2100, FIELDS = 24 };

struct entry {
	uint16_t name, value; /* numbers of text */
};

struct encoder {
	struct entry table[ENTRIES_MAX]; /* newest last */
	size_t n, size, max;
	struct buf out;
	struct entry sent[FIELDS];
	size_t n_sent;
	uint64_t seed;
};

static uint32_t dice(struct encoder *e, uint32_t n)
{
	return drive_random(&e->seed) % n;
}

static struct bytes name_text(uint16_t i, char room[32])
{
	return bytes_of(room, (size_t)snprintf(room, 32, "x-%0*u", i % 17, i));
}

static struct bytes value_text(uint16_t i, char room[64])
{
	return bytes_of(room, (size_t)snprintf(room, 64, "%0*u", i % 40 + 1, i));
}

static size_t entry_size(struct entry x)
{
	char a[32], b[64];

	return name_text(x.name, a).n + value_text(x.value, b).n + 32;
}

static void put(struct encoder *e, struct bytes b)
{
	assert_int_equal(buf_append(&e->out, b), 0);
}

static void put_integer(struct encoder *e, uint8_t first, uint8_t prefix, size_t v)
{
	uint8_t b = (uint8_t)(v < prefix ? first | v : first | prefix);

	put(e, bytes_of(&b, 1));
	if (v < prefix)
		return;
	for (v -= prefix; v >= 128; v >>= 7) {
		b = (uint8_t)(v | 128);
		put(e, bytes_of(&b, 1));
	}
	b = (uint8_t)v;
	put(e, bytes_of(&b, 1));
}

static void put_string(struct encoder *e, struct bytes s)
{
	put_integer(e, 0, 127, s.n);
	put(e, s);
}

static void table_fit(struct encoder *e, size_t room)
{
	size_t gone = 0;

	while (gone < e->n && e->size + room > e->max)
		e->size -= entry_size(e->table[gone++]);
	memmove(e->table, e->table + gone, (e->n - gone) * sizeof(e->table[0]));
	e->n -= gone;
}

static void table_add(struct encoder *e, struct entry x)
{
	size_t size = entry_size(x);

	table_fit(e, size);
	if (size > e->max)
		return;
	e->table[e->n++] = x;
	e->size += size;
}

static void table_limit(struct encoder *e, size_t max)
{
	e->max = max;
	table_fit(e, 0);
	put_integer(e, 0x20, 31, max);
}

/* A field, indexed when it can be and the dice say so. */
static void field_put(struct encoder *e)
{
	static const uint8_t firsts[] = {0x40, 0x40, 0x00, 0x10}, prefixes[] = {63, 63, 15, 15};
	struct entry x = {(uint16_t)dice(e, NAMES), (uint16_t)dice(e, VALUES)};
	uint32_t how = dice(e, 4);
	char a[32], b[64];

	if (e->n && dice(e, 3)) {
		size_t i = dice(e, (uint32_t)e->n); /* from the newest */
		x = e->table[e->n - 1 - i];
		if (dice(e, 2)) {
			put_integer(e, 0x80, 127, 62 + i);
			e->sent[e->n_sent++] = x;
			return;
		}
		x.value = (uint16_t)dice(e, VALUES);
		put_integer(e, firsts[how], prefixes[how], 62 + i);
	} else {
		put_integer(e, firsts[how], prefixes[how], 0);
		put_string(e, name_text(x.name, a));
	}
	put_string(e, value_text(x.value, b));
	if (how < 2)
		table_add(e, x);
	e->sent[e->n_sent++] = x;
}

static struct bytes block_put(struct encoder *e)
{
	static const size_t sizes[] = {0, 100, 256, 4096, 16384, 65536};

	e->out.n = e->n_sent = 0;
	if (dice(e, 60) == 0) {
		if (dice(e, 2))
			table_limit(e, 0);
		table_limit(e, sizes[dice(e, 6)]);
	}
	for (uint32_t i = dice(e, FIELDS); i; i--)
		field_put(e);
	return buf_bytes(&e->out);
}

struct tally {
	size_t fields, unknown, half, observed;
};

static void judge(const struct encoder *e, const struct hpack_list *l, bool late, struct tally *t)
{
	char a[32], b[64];

	assert_int_equal(l->n, e->n_sent);
	for (size_t i = 0; i < l->n; i++) {
		const struct header *h = &l->fields[i];
		bool unknown = h->provenance == PROVENANCE_UNKNOWN;
		assert_true(unknown ? late && !h->name.n : h->name.n > 0);
		if (!unknown || h->name.n)
			assert_true(bytes_eq(h->name, name_text(e->sent[i].name, a)));
		if (!unknown || h->value.n)
			assert_true(bytes_eq(h->value, value_text(e->sent[i].value, b)));
		t->fields++;
		t->unknown += unknown && !h->value.n;
		t->half += unknown && h->value.n;
		t->observed += h->provenance == PROVENANCE_OBSERVED;
	}
}

/* Blocks from the `from`-th on; every `lost`-th is lost, and the table starts over. */
static void sweep(uint64_t seed, size_t max, unsigned from, unsigned lost, struct tally *t)
{
	struct encoder *e = calloc(1, sizeof(*e));
	struct hpack h = {0};
	struct hpack_list l;

	assert_non_null(e);
	e->seed = seed;
	e->max = 4096;
	hpack_reset(&h, from > 0);
	for (unsigned i = 0; i < 600; i++) {
		if (i == 0 && max != 4096) {
			table_limit(e, max);
			if (from == 0) /* the update is seen */
				assert_int_equal(decode(&h, buf_bytes(&e->out), &l), 0);
		}
		struct bytes b = block_put(e);
		if (i < from)
			continue;
		if (lost && i % lost == 0) {
			hpack_reset(&h, true);
			continue;
		}
		int r = hpack_decode(&h, b, UINT32_MAX, &limits, &l);
		assert_int_equal(r, 0);
		assert_null(l.cap);
		judge(e, &l, from || lost, t);
	}
	hpack_reset(&h, false);
	buf_fini(&e->out);
	free(e);
}

static void every_representation(void **state)
{
	struct tally t = {0};

	(void)state;
	for (unsigned i = 0; i < 60; i++)
		sweep(i + 1, 4096, 0, 0, &t);
	assert_true(t.observed && !t.unknown && !t.half);
}

static void b8_late_table(void **state)
{
	static const size_t sizes[] = {0, 64, 256, 4096, 16384, 65536};
	struct tally t = {0};

	(void)state;
	for (unsigned i = 0; i < 240; i++)
		sweep(100 + i, sizes[i % 6], 1 + i * 2, 0, &t);
	print_message("%zu fields: %zu unknown, %zu with a value only, %zu observed, 0 wrong\n",
		      t.fields, t.unknown, t.half, t.observed);
	assert_true(t.unknown && t.half && t.observed);
}

static void b9_lost_blocks(void **state)
{
	static const size_t sizes[] = {0, 4096, 65536};
	struct tally t = {0};

	(void)state;
	for (unsigned i = 0; i < 90; i++)
		sweep(900 + i, sizes[i % 3], 0, 97, &t);
	assert_true(t.unknown && t.observed > t.unknown);
}

/* ---- by hand ---- */

static void literal_add(struct buf *b, const char *name, size_t value)
{
	struct encoder e = {0};
	char *v = malloc(value + 1);

	assert_non_null(v);
	memset(v, 'v', value);
	put_integer(&e, 0x40, 63, 0);
	put_string(&e, bytes_str(name));
	put_string(&e, bytes_of(v, value));
	assert_int_equal(buf_append(b, buf_bytes(&e.out)), 0);
	buf_fini(&e.out);
	free(v);
}

static int try(const char *what, size_t n, bool late)
{
	struct hpack h = {.late = late};
	struct hpack_list l;
	int r = decode(&h, bytes_of(what, n), &l);

	hpack_reset(&h, false);
	return r;
}

#define TRY(late, lit) try(lit, sizeof(lit) - 1, late)

static void b7_integers_and_huffman(void **state)
{
	(void)state;
	assert_int_equal(TRY(false, "\x82\x86\x84"), 0);
	assert_int_equal(TRY(false, ""), 0);
	assert_int_equal(TRY(false, "\x80"), -EPROTO); /* index 0 */
	assert_int_equal(TRY(false, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), -EPROTO);
	assert_int_equal(TRY(true, "\xff\xff\xff\xff\xff\x0f"), -EPROTO);
	assert_int_equal(TRY(true, "\xff\x80\x80\x80\x80\x80\x00"), -EPROTO);
	assert_int_equal(TRY(false, "\x7f"), -EPROTO); /* cut in an integer */
	assert_int_equal(TRY(false, "\x40\x05"
				    "ab"),
			 -EPROTO); /* in a string */
	assert_int_equal(TRY(false, "\x40\x01"
				    "a"),
			 -EPROTO); /* before the value */
	assert_int_equal(TRY(false, "\x40\x01"
				    "a\x7f\xff\xff\xff\x7f"
				    "b"),
			 -EPROTO);
	assert_int_equal(TRY(false, "\x40\x01"
				    "a\x81\xff"),
			 -EPROTO); /* padding of 8 bits */
	assert_int_equal(TRY(false, "\x40\x01"
				    "a\x84\xff\xff\xff\xff"),
			 -EPROTO); /* EOS */
	assert_int_equal(TRY(false, "\x40\x01"
				    "a\x81\x18"),
			 -EPROTO); /* padding of zeros */
	assert_int_equal(TRY(false, "\x40\x01"
				    "a\x81\x1f"),
			 0);
}

static void b8_index_to_nothing(void **state)
{
	(void)state;
	assert_int_equal(TRY(false, "\xbe"), -EPROTO);
	assert_int_equal(TRY(false, "\x7e\x01"
				    "v"),
			 -EPROTO);
	assert_int_equal(TRY(true, "\xbe"), 0);
	assert_int_equal(TRY(true, "\x7e\x01"
				   "v"),
			 0);
	/* no table of 64 KiB has so many entries: out of step */
	assert_int_equal(TRY(true, "\xff\xff\x7f"), -EPROTO);
}

static void b6_size_updates(void **state)
{
	struct hpack h = {0};
	struct hpack_list l;
	struct buf b = {0};

	(void)state;
	assert_int_equal(TRY(false, "\x20\x3f\xe1\x1f\x82"), 0);
	assert_int_equal(TRY(false, "\x82\x20"), -EPROTO); /* not at the beginning */
	assert_int_equal(TRY(true, "\xbe\x20"), -EPROTO);
	/* beyond what SETTINGS allow */
	assert_int_equal(hpack_decode(&h, BYTES("\x3f\xe2\x1f\x82"), 4096, &limits, &l), -EPROTO);
	hpack_reset(&h, false);
	/* allowed, but more than is kept: 4 MiB count as 64 KiB, and what falls out is unknown */
	literal_add(&b, "first", 10);
	assert_int_equal(hpack_decode(&h, BYTES("\x3f\xe1\xff\xff\x01"), UINT32_MAX, &limits, &l),
			 0);
	assert_int_equal(decode(&h, buf_bytes(&b), &l), 0);
	assert_int_equal(decode(&h, BYTES("\xbe"), &l), 0);
	assert_int_equal(l.fields[0].provenance, PROVENANCE_OBSERVED);
	b.n = 0;
	literal_add(&b, "large", 60000);
	assert_int_equal(decode(&h, buf_bytes(&b), &l), 0);
	b.n = 0;
	literal_add(&b, "large", 6000);
	assert_int_equal(decode(&h, buf_bytes(&b), &l), 0);
	assert_int_equal(decode(&h, BYTES("\xc0"), &l), 0);
	assert_int_equal(l.fields[0].provenance, PROVENANCE_UNKNOWN);
	assert_int_equal(l.fields[0].name.n, 0);
	/* a million of them cost what their bytes cost */
	b.n = 0;
	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(buf_append(&b, BYTES("\x20")), 0);
	assert_int_equal(decode(&h, buf_bytes(&b), &l), 0);
	assert_int_equal(l.n, 0);
	buf_fini(&b);
	hpack_reset(&h, false);
}

static void b3_bomb(void **state)
{
	struct hpack h = {0};
	struct hpack_list l;
	struct buf b = {0};

	(void)state;
	literal_add(&b, "x", 3900);
	for (unsigned i = 0; i < 50000; i++)
		assert_int_equal(buf_append(&b, BYTES("\xbe")), 0);
	literal_add(&b, "y", 5);
	literal_add(&b, "grpc-status", 1);
	assert_int_equal(decode(&h, buf_bytes(&b), &l), 0);
	assert_string_equal(l.cap, "header_bytes");
	assert_int_equal(l.n, 65536 / (3901 + 32) + 1); /* the status is kept */
	assert_true(bytes_eq(l.fields[l.n - 1].name, BYTES("grpc-status")));
	assert_int_equal(decode(&h, BYTES("\xbf"), &l), 0); /* the table saw the whole block */
	assert_true(bytes_eq(l.fields[0].name, BYTES("y")));
	buf_fini(&b);
	hpack_reset(&h, false);
}

static void b4_count(void **state)
{
	const struct framer_limits few = {64 * 1024, 10, 0, 0};
	struct hpack h = {0};
	struct hpack_list l;
	struct buf b = {0};

	(void)state;
	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(buf_append(&b, BYTES("\xa0")), 0); /* cookie */
	assert_int_equal(decode(&h, buf_bytes(&b), &l), 0);
	assert_string_equal(l.cap, "header_count");
	assert_int_equal(l.n, 256);
	assert_int_equal(hpack_decode(&h, buf_bytes(&b), 4096, &few, &l), 0);
	assert_int_equal(l.n, 10);
	buf_fini(&b);
	hpack_reset(&h, false);
}

/* CVE-2019-9516: names and values of no length cost 32 bytes each */
static void b5_empty_names(void **state)
{
	const struct framer_limits small = {1024, 256, 0, 0};
	struct hpack h = {0};
	struct hpack_list l;
	struct buf b = {0};

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(buf_append(&b, BYTES("\0\0\0")), 0);
	assert_int_equal(hpack_decode(&h, buf_bytes(&b), 4096, &small, &l), 0);
	assert_string_equal(l.cap, "header_bytes");
	assert_int_equal(l.n, 1024 / 32);
	buf_fini(&b);
	hpack_reset(&h, false);
}

/* Entries that fall out of 4 KiB are unknown, until an index shows that the sender has more. */
static void grows_once(struct hpack *h, const char **late_cap)
{
	struct hpack_list l;
	struct buf b = {0};

	*late_cap = NULL;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3; i++) {
			b.n = 0;
			literal_add(&b, i ? "later" : "first", 1900);
			assert_int_equal(decode(h, buf_bytes(&b), &l), 0);
		}
		assert_int_equal(decode(h, BYTES("\xc0"), &l), 0);
		if (l.late_cap)
			*late_cap = l.late_cap;
		if (round && h->large)
			assert_true(bytes_eq(l.fields[0].name, BYTES("first")));
		else
			assert_int_equal(l.fields[0].provenance, PROVENANCE_UNKNOWN);
	}
	buf_fini(&b);
}

static void late_tables_are_few(void **state)
{
	struct hpack h[HPACK_LATE_TABLES_MAX + 2] = {0};
	const char *cap;

	(void)state;
	for (unsigned i = 0; i < N(h); i++) {
		hpack_reset(&h[i], true);
		grows_once(&h[i], &cap);
		assert_int_equal(h[i].large, i < HPACK_LATE_TABLES_MAX);
		if (h[i].large)
			assert_null(cap);
		else
			assert_string_equal(cap, "hpack_late_tables");
	}
	hpack_reset(&h[0], true); /* one goes, another may come */
	hpack_reset(&h[N(h) - 1], true);
	grows_once(&h[N(h) - 1], &cap);
	assert_true(h[N(h) - 1].large);
	for (unsigned i = 0; i < N(h); i++)
		hpack_reset(&h[i], false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_representation),
		cmocka_unit_test(b3_bomb),
		cmocka_unit_test(b4_count),
		cmocka_unit_test(b5_empty_names),
		cmocka_unit_test(b6_size_updates),
		cmocka_unit_test(b7_integers_and_huffman),
		cmocka_unit_test(b8_index_to_nothing),
		cmocka_unit_test(b8_late_table),
		cmocka_unit_test(b9_lost_blocks),
		cmocka_unit_test(late_tables_are_few),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
