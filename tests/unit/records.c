/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/records.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PART_MAX = 900 * 1024 };

static int records_submit(struct sink *sink, struct record **r, const char **exit)
{
	struct records *s = (struct records *)sink;
	struct record *rec = *r;
	if (s->refuse_last && rec->number >= s->refuse_first && rec->number <= s->refuse_last) {
		*exit = s->refuse_exit;
		return s->refuse_exit ? -E2BIG : -EAGAIN;
	}
	if (rec->n > s->largest)
		s->largest = rec->n;
	s->bytes += rec->n;
	if (!s->count_only && s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->list = realloc(s->list, s->cap * sizeof(*s->list));
		assert_non_null(s->list);
	}
	if (!s->count_only) {
		s->list[s->n] = record_decode(bytes_of(rec->data, rec->n));
		assert_non_null(s->list[s->n]);
		s->n++;
	}
	if (s->late_reports) {
		s->unreported = realloc(s->unreported, (s->n_unreported + 1) * sizeof(uint64_t));
		s->unreported[s->n_unreported++] = rec->number;
	} else if (s->recorder) {
		recorder_report(s->recorder, RECORD_CALL, rec->number, rec->last_part, NULL);
	}
	record_free(rec);
	*r = NULL;
	return 0;
}

const struct sink_ops records_ops = {.scheme = "records", .submit = records_submit};

void records_report(struct records *s, size_t i, const char *exit)
{
	recorder_report(s->recorder, RECORD_CALL, s->unreported[i], true, exit);
}

void records_fini(struct records *s)
{
	for (size_t i = 0; i < s->n; i++)
		sidetap__v1__call__free_unpacked(s->list[i], NULL);
	free(s->list);
	free(s->unreported);
	*s = (struct records) {0};
}

static struct bytes of_data(ProtobufCBinaryData d)
{
	return bytes_of(d.data, d.len);
}

static void message_join(const Sidetap__V1__Message *m, const Sidetap__V1__Message **head,
			 struct buf *body)
{
	if (!m)
		return;
	if (m->start_unix_ns && !*head)
		*head = m;
	else
		assert_int_equal(m->n_headers, 0);
	assert_int_equal(buf_append(body, of_data(m->body)), 0);
}

static void stream_join(struct joined *j, const Sidetap__V1__StreamMessage *m, bool *open)
{
	int dir = m->direction;
	size_t i = j->n_stream;
	if (open[dir])
		while (i && j->stream[i - 1].dir != dir)
			i--;
	if (!open[dir] || !i) {
		i = ++j->n_stream;
		assert_true(i <= sizeof(j->stream) / sizeof(j->stream[0]));
		j->stream[i - 1].dir = dir;
	}
	i--;
	assert_int_equal(buf_append(&j->stream[i].body, of_data(m->body)), 0);
	j->stream[i].body_bytes = m->body_bytes;
	j->stream[i].compressed = m->compressed;
	open[dir] = m->body_bytes == 0 && m->body.len;
}

struct joined records_join(const struct records *s, const char *id)
{
	struct joined j = {0};
	bool open[2] = {false, false};
	for (size_t i = 0; i < s->n; i++) {
		const Sidetap__V1__Call *c = s->list[i];
		if (strcmp(c->id, id) != 0)
			continue;
		assert_int_equal(c->part, j.n_parts);
		j.n_parts++;
		if (!j.first)
			j.first = c;
		j.last = c;
		message_join(c->request, &j.req_head, &j.req);
		message_join(c->response, &j.resp_head, &j.resp);
		for (size_t k = 0; k < c->n_stream; k++)
			stream_join(&j, c->stream[k], open);
	}
	return j;
}

void records_unjoin(struct joined *j)
{
	buf_fini(&j->req);
	buf_fini(&j->resp);
	for (size_t i = 0; i < j->n_stream; i++)
		buf_fini(&j->stream[i].body);
	*j = (struct joined) {0};
}

bool records_flag(const Sidetap__V1__Call *c, const char *flag)
{
	for (size_t i = 0; i < c->n_flags; i++)
		if (strcmp(c->flags[i], flag) == 0)
			return true;
	return false;
}

const char *records_flags(const Sidetap__V1__Call *c)
{
	static char text[256];
	size_t n = 0;
	text[0] = 0;
	for (size_t i = 0; i < c->n_flags; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "",
				      c->flags[i]);
	return text;
}

const char *records_attribute(const Sidetap__V1__Call *c, const char *name)
{
	for (size_t i = 0; i < c->n_attributes; i++)
		if (strcmp(c->attributes[i]->key, name) == 0)
			return c->attributes[i]->value;
	return NULL;
}

const Sidetap__V1__Call *records_last(const struct records *s, size_t i)
{
	for (size_t k = 0; k < s->n; k++)
		if (s->list[k]->last_part && i-- == 0)
			return s->list[k];
	return NULL;
}

void records_check(const struct records *s)
{
	enum { CONNS = 256 };
	uint64_t sequence[CONNS] = {0};
	assert_true(s->largest <= PART_MAX);
	for (size_t i = 0; i < s->n; i++) {
		const Sidetap__V1__Call *c = s->list[i];
		const char *dash = strrchr(c->connection_id, '-');
		assert_non_null(dash);
		unsigned long conn = strtoul(dash + 1, NULL, 10);
		if (i && !s->refuse_last)
			assert_int_equal(c->record_number, s->list[i - 1]->record_number + 1);
		if (c->part == 0 && conn < CONNS && !s->refuse_last)
			assert_int_equal(c->sequence, ++sequence[conn]);
		assert_true(c->part == 0 || (c->protocol[0] == 0 && c->path[0] == 0));
	}
}

void stages_check(size_t n, const struct ledger_stage *stages)
{
	for (size_t i = 0; i < n; i++)
		if (ledger_residue(&stages[i]) != 0)
			fail_msg("stage %s: residue %lld", stages[i].name,
				 (long long)ledger_residue(&stages[i]));
}
