/* SPDX-License-Identifier: Apache-2.0 */
/* Counts, and delivers to nowhere. */
#include <stdio.h>
#include <stdlib.h>

#include "sink/sink.h"

struct null {
	struct sink_cfg cfg;
	uint64_t calls, bytes;
	char status[80];
};

static struct null *null_of(struct sink *s)
{
	return (struct null *)s;
}

static struct sink *null_open(const struct sink_cfg *cfg, char *err, size_t err_n)
{
	struct null *n = calloc(1, sizeof(*n));
	if (!n) {
		snprintf(err, err_n, "null: no memory");
		return NULL;
	}
	n->cfg = *cfg;
	return (struct sink *)n;
}

static int null_submit(struct sink *s, struct record **r, const char **exit)
{
	struct null *n = null_of(s);
	(void)exit;
	n->calls += (*r)->kind == RECORD_CALL && (*r)->last_part;
	n->bytes += (*r)->n;
	n->cfg.report(n->cfg.report_ctx, (*r)->kind, (*r)->number, (*r)->last_part, NULL);
	record_free(*r);
	*r = NULL;
	return 0;
}

static int null_fd(struct sink *s)
{
	(void)s;
	return -1;
}

static void null_service(struct sink *s)
{
	(void)s;
}

static int null_drain(struct sink *s, int timeout_ms)
{
	(void)s, (void)timeout_ms;
	return 0;
}

static bool null_held(struct sink *s, uint64_t *records, uint64_t *bytes)
{
	(void)s;
	*records = *bytes = 0;
	return false;
}

static const char *null_status(struct sink *s)
{
	struct null *n = null_of(s);
	snprintf(n->status, sizeof(n->status), "counted %llu calls, %llu bytes of records",
		 (unsigned long long)n->calls, (unsigned long long)n->bytes);
	return n->status;
}

static void null_close(struct sink *s)
{
	free(s);
}

const struct sink_ops sink_null = {
	.scheme = "null",
	.open = null_open,
	.submit = null_submit,
	.fd = null_fd,
	.service = null_service,
	.drain = null_drain,
	.held = null_held,
	.status = null_status,
	.close = null_close,
};
