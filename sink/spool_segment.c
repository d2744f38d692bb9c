/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/spool_segment.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "sink/record_block.h"

static const char header_magic[8] = "sdtpspl\n";
static const uint32_t entry_magic = 0x6c707364; /* no byte of it is 0 or repeats */
static const uint32_t byte_order = 0x01020304;

struct file_header {
	char magic[8];
	uint32_t version, order;
	uint64_t segment;
	char instance[SPOOL_INSTANCE];
	uint64_t created_unix_ns;
	uint8_t spare[12];
	uint32_t crc; /* of all before it */
};
_Static_assert(sizeof(struct file_header) == SPOOL_HEADER_BYTES, "as documented");

struct entry {
	uint32_t magic, n;
	uint32_t crc; /* of the rest of this and the record */
	uint8_t kind, last_part, maybe_there, spare;
	uint64_t number, unix_ns;
	char instance[SPOOL_INSTANCE];
	struct record_span spans[4];
	uint64_t check; /* magic, n and number folded: a length is believed only with it */
};
_Static_assert(sizeof(struct entry) == SPOOL_ENTRY_BYTES, "as documented");

static uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	return crc32_iscsi((unsigned char *)p, (int)n, crc);
}

void spool_segment_header(uint8_t *out, uint64_t segment, const char *instance)
{
	struct file_header h = {.version = SPOOL_VERSION,
				.order = byte_order,
				.segment = segment,
				.created_unix_ns = clock_ns(CLOCK_REALTIME)};
	memcpy(h.magic, header_magic, sizeof(h.magic));
	memcpy(h.instance, instance, strnlen(instance, sizeof(h.instance)));
	h.crc = crc32c(0, &h, offsetof(struct file_header, crc));
	memcpy(out, &h, sizeof(h));
}

int spool_segment_check(struct bytes file)
{
	struct file_header h;
	if (file.n < sizeof(h))
		return 0;
	memcpy(&h, file.p, sizeof(h));
	if (memcmp(h.magic, header_magic, sizeof(h.magic)) != 0 ||
	    h.crc != crc32c(0, &h, offsetof(struct file_header, crc)))
		return 0;
	return h.version == SPOOL_VERSION && h.order == byte_order ? 0 : -ENOTSUP;
}

static uint64_t fold(const struct entry *e)
{
	return ((uint64_t)e->magic << 32 | e->n) * 0x9e3779b97f4a7c15 ^ e->number;
}

static uint32_t entry_crc(const struct entry *e, const uint8_t *data)
{
	size_t from = offsetof(struct entry, kind);
	uint32_t crc = crc32c(e->n, (const uint8_t *)e + from, sizeof(*e) - from);
	return crc32c(crc, data, e->n);
}

static size_t padding(size_t n)
{
	return (8 - n % 8) % 8;
}

size_t spool_segment_entry(uint8_t out[SPOOL_ENTRY_BYTES], const struct record *r,
			   const char *instance, size_t *pad)
{
	struct entry e = {.magic = entry_magic,
			  .n = (uint32_t)r->n,
			  .kind = (uint8_t)r->kind,
			  .last_part = r->last_part,
			  .maybe_there = r->maybe_there,
			  .number = r->number,
			  .unix_ns = r->unix_ns,
			  .spans = {r->key, r->protocol, r->service, r->method}};
	memcpy(e.instance, instance, strnlen(instance, sizeof(e.instance)));
	e.check = fold(&e);
	e.crc = entry_crc(&e, r->data);
	memcpy(out, &e, sizeof(e));
	*pad = padding(r->n);
	return sizeof(e);
}

static bool spans_fit(const struct entry *e)
{
	for (int i = 0; i < 4; i++)
		if (e->spans[i].off > e->n || e->spans[i].n > e->n - e->spans[i].off)
			return false;
	return e->kind <= RECORD_LEDGER;
}

/* Bytes of a plausible entry at `at`: its length is proven by `check`, so that what a peer sent is not searched for
 * entries. 0: none. */
static size_t entry_claim(struct bytes file, size_t at, struct entry *e)
{
	if (file.n - at < sizeof(*e))
		return 0;
	memcpy(e, file.p + at, sizeof(*e));
	if (e->magic != entry_magic || e->check != fold(e) || e->n > RECORD_MAX_BYTES)
		return 0;
	return sizeof(*e) + e->n + padding(e->n);
}

static bool is_whole(struct bytes file, size_t at, const struct entry *e)
{
	return e->n <= file.n - at - sizeof(*e) && spans_fit(e) &&
	       e->crc == entry_crc(e, file.p + at + sizeof(*e));
}

static bool is_zero(struct bytes file, size_t at)
{
	static const uint8_t zero[8];
	size_t n = file.n - at < 8 ? file.n - at : 8;
	return memcmp(file.p + at, zero, n) == 0;
}

/* Zeros are no damage: a file may end in them after a power cut (D5). */
static bool step(struct bytes file, size_t *at, struct entry *e, uint64_t *broken)
{
	bool astray = false;
	size_t i = *at < SPOOL_HEADER_BYTES ? SPOOL_HEADER_BYTES : *at;
	while (i < file.n) {
		size_t claim = entry_claim(file, i, e);
		if (claim && is_whole(file, i, e)) {
			*broken += astray;
			*at = i;
			return true;
		}
		astray |= !is_zero(file, i);
		i += claim && claim <= file.n - i ? claim : 8;
	}
	*broken += astray;
	*at = file.n;
	return false;
}

bool spool_segment_next(struct bytes file, size_t *at, struct spool_segment_found *out,
			uint64_t *broken)
{
	struct entry e;
	if (!step(file, at, &e, broken))
		return false;
	*out = (struct spool_segment_found) {.data = bytes_of(file.p + *at + sizeof(e), e.n),
					     .kind = e.kind,
					     .number = e.number,
					     .unix_ns = e.unix_ns,
					     .last_part = e.last_part,
					     .maybe_there = e.maybe_there};
	memcpy(out->instance, e.instance, sizeof(e.instance));
	memcpy(out->spans, e.spans, sizeof(e.spans));
	*at += sizeof(e) + e.n + padding(e.n);
	return true;
}

struct record *spool_segment_record(const struct spool_segment_found *f)
{
	struct record *r = record_block_new(f->kind, f->data.n);
	if (!r)
		return NULL;
	memcpy(r->data, f->data.p, f->data.n);
	r->number = f->number;
	r->unix_ns = f->unix_ns;
	r->last_part = f->last_part;
	r->maybe_there = f->maybe_there;
	r->key = f->spans[0];
	r->protocol = f->spans[1];
	r->service = f->spans[2];
	r->method = f->spans[3];
	return r;
}
