/* SPDX-License-Identifier: Apache-2.0 */
/* Counts, and delivers to nowhere. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sink/sink.h"
#include "sink/taken.h"

enum { NULL_MAX_BYTES = 32 << 20 };

struct null {
	struct sink_cfg cfg;
	struct taken taken;
	int event;
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
	if (n && (n->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
		free(n);
		n = NULL;
	}
	if (!n) {
		snprintf(err, err_n, "null: no memory or file descriptor left");
		return NULL;
	}
	n->cfg = *cfg;
	taken_init(&n->taken);
	return (struct sink *)n;
}

static int null_submit(struct sink *s, struct record **r, const char **exit)
{
	struct null *n = null_of(s);
	(void)exit;
	if (n->taken.bytes + (*r)->n > NULL_MAX_BYTES && n->taken.records)
		return -EAGAIN;
	if (!n->taken.records)
		eventfd_write(n->event, 1);
	n->calls += (*r)->kind == RECORD_CALL && (*r)->last_part;
	n->bytes += (*r)->n;
	taken_push(&n->taken, *r);
	*r = NULL;
	return 0;
}

static int null_fd(struct sink *s)
{
	return null_of(s)->event;
}

static void null_service(struct sink *s)
{
	eventfd_t v;
	eventfd_read(null_of(s)->event, &v);
	taken_report(&null_of(s)->taken, &null_of(s)->cfg, NULL);
}

static int null_drain(struct sink *s, int timeout_ms)
{
	(void)timeout_ms;
	null_service(s);
	return 0;
}

static bool null_held(struct sink *s, uint64_t *records, uint64_t *bytes)
{
	*records = null_of(s)->taken.records;
	*bytes = null_of(s)->taken.bytes;
	return *records != 0;
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
	if (!s)
		return;
	taken_fini(&null_of(s)->taken);
	close(null_of(s)->event);
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
