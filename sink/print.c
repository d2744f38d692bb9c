/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line a call on stdout, when its last part comes. A slow reader does not stop the loop: lines
 * wait in a bounded buffer, which is written while stdout takes it; over the bound submit answers
 * -EAGAIN.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "record.pb-c.h"
#include "base/log.h"
#include "sink/print_line.h"
#include "sink/sink.h"
#include "sink/taken.h"

/* OPEN_MAX first parts are remembered; a pipe that is ready takes CHUNK (PIPE_BUF) bytes at
 * once. */
enum { PRINT_MAX_BYTES = 1 << 20, PRINT_OPEN_MAX = 64, PRINT_CHUNK = 4096 };

struct print {
	struct sink_cfg cfg;
	struct taken taken; /* lines written or in `out`, not reported yet */
	struct text out;
	size_t written; /* of out */
	int epoll, event; /* epoll holds event and, when it can be polled, stdout */
	bool pollable, closed, colour;
	int error; /* why it is closed; 0: nobody reads any more */
	uint64_t calls;
	Sidetap__V1__Call
		*open[PRINT_OPEN_MAX]; /* part 0 of calls that are not done; oldest replaced */
	unsigned next_open;
	char status[64];
};

static struct print *print_of(struct sink *s)
{
	return (struct print *)s;
}

static bool wants_colour(void)
{
	const char *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

static void ignore_sigpipe(void)
{
	struct sigaction now;
	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static int watch(struct print *p, int op, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};
	return epoll_ctl(p->epoll, op, fd, &e);
}

static void print_close(struct sink *s)
{
	struct print *p = print_of(s);
	if (!p)
		return;
	for (unsigned i = 0; i < PRINT_OPEN_MAX; i++)
		sidetap__v1__call__free_unpacked(p->open[i], NULL);
	if (p->epoll >= 0)
		close(p->epoll);
	if (p->event >= 0)
		close(p->event);
	taken_fini(&p->taken);
	text_fini(&p->out);
	free(p);
}

static struct sink *print_open(const struct sink_cfg *cfg, char *err, size_t err_n)
{
	struct print *p = calloc(1, sizeof(*p));
	if (!p) {
		snprintf(err, err_n, "print: no memory");
		return NULL;
	}
	p->cfg = *cfg;
	taken_init(&p->taken);
	p->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->event < 0 || p->epoll < 0 || watch(p, EPOLL_CTL_ADD, p->event, EPOLLIN) != 0) {
		snprintf(err, err_n, "print: %s", strerror(errno));
		print_close((struct sink *)p);
		return NULL;
	}
	ignore_sigpipe();
	p->pollable = watch(p, EPOLL_CTL_ADD, STDOUT_FILENO, 0) == 0;
	p->colour = wants_colour();
	return (struct sink *)p;
}

static bool ready(const struct print *p)
{
	struct pollfd f = {.fd = STDOUT_FILENO, .events = POLLOUT};
	return !p->pollable || poll(&f, 1, 0) > 0;
}

/* A reader that went away, as `| head` does, is no error. */
static void closed(struct print *p, int error)
{
	p->closed = true;
	p->error = error == EPIPE ? 0 : error;
	if (p->error)
		log_error("print: stdout: %s", strerror(error));
}

/* Writes what stdout takes now. */
static void push_out(struct print *p)
{
	while (p->written < p->out.n && !p->closed && ready(p)) {
		size_t left = p->out.n - p->written;
		if (p->pollable && left > PRINT_CHUNK)
			left = PRINT_CHUNK;
		ssize_t n = write(STDOUT_FILENO, p->out.p + p->written, left);
		if (n >= 0)
			p->written += (size_t)n;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			closed(p, errno);
	}
	if (p->written == p->out.n || p->closed)
		p->out.n = p->written = 0;
	if (p->pollable)
		watch(p, EPOLL_CTL_MOD, STDOUT_FILENO, p->out.n ? EPOLLOUT : 0);
}

static bool same_call(const Sidetap__V1__Call *a, const Sidetap__V1__Call *b)
{
	return a && strcmp(a->id, b->id) == 0;
}

/* Part 0 of a call that ends with `last`, out of the table; NULL: not there. */
static Sidetap__V1__Call *take_open(struct print *p, const Sidetap__V1__Call *last)
{
	for (unsigned i = 0; i < PRINT_OPEN_MAX; i++) {
		if (!same_call(p->open[i], last))
			continue;
		Sidetap__V1__Call *c = p->open[i];
		p->open[i] = NULL;
		return c;
	}
	return NULL;
}

static void remember(struct print *p, Sidetap__V1__Call *first)
{
	unsigned i = p->next_open++ % PRINT_OPEN_MAX;
	sidetap__v1__call__free_unpacked(p->open[i], NULL);
	p->open[i] = first;
}

static void print_call(struct print *p, const struct record *r)
{
	Sidetap__V1__Call *c = record_decode(bytes_of(r->data, r->n));
	if (!c)
		return;
	if (!c->last_part) {
		if (c->part == 0)
			remember(p, c);
		else
			sidetap__v1__call__free_unpacked(c, NULL);
		return;
	}
	Sidetap__V1__Call *first = c->part ? take_open(p, c) : NULL;
	struct print_style style = {p->colour, p->cfg.verbose > 0,
				    p->cfg.bodies || p->cfg.verbose > 1};
	print_line(&p->out, first ? first : c, c, &style);
	p->calls++;
	sidetap__v1__call__free_unpacked(first, NULL);
	sidetap__v1__call__free_unpacked(c, NULL);
}

static int print_submit(struct sink *s, struct record **r, const char **exit)
{
	struct print *p = print_of(s);
	if (p->closed) {
		*exit = "stdout_closed";
		return -EPIPE;
	}
	if (p->out.n - p->written > PRINT_MAX_BYTES || p->taken.bytes > PRINT_MAX_BYTES)
		return -EAGAIN;
	if ((*r)->kind == RECORD_CALL)
		print_call(p, *r);
	if (!p->taken.records)
		eventfd_write(p->event, 1);
	taken_push(&p->taken, *r);
	*r = NULL;
	push_out(p);
	return 0;
}

static int print_fd(struct sink *s)
{
	return print_of(s)->epoll;
}

/* A reader that went away is told by the poll alone, before anything is written. */
static void look_closed(struct print *p)
{
	struct pollfd f = {.fd = STDOUT_FILENO};
	if (p->closed || !p->pollable || poll(&f, 1, 0) <= 0 || !(f.revents & (POLLERR | POLLNVAL)))
		return;
	p->closed = true;
	watch(p, EPOLL_CTL_DEL, STDOUT_FILENO, 0);
	p->pollable = false;
}

static bool print_finished(struct sink *s)
{
	return print_of(s)->closed;
}

static void print_service(struct sink *s)
{
	struct print *p = print_of(s);
	eventfd_t v;
	look_closed(p);
	push_out(p);
	eventfd_read(p->event, &v);
	if (p->out.n == 0)
		taken_report(&p->taken, &p->cfg, p->closed ? "stdout_closed" : NULL);
}

static int print_drain(struct sink *s, int timeout_ms)
{
	struct print *p = print_of(s);
	struct timespec start, now;
	struct pollfd f = {.fd = STDOUT_FILENO, .events = POLLOUT};
	int left = timeout_ms;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (push_out(p); p->out.n && left > 0; push_out(p)) {
		poll(&f, 1, left);
		clock_gettime(CLOCK_MONOTONIC, &now);
		left = timeout_ms - (int)((now.tv_sec - start.tv_sec) * 1000 +
					  (now.tv_nsec - start.tv_nsec) / 1000000);
	}
	bool late = p->out.n != 0;
	taken_report(&p->taken, &p->cfg,
		     p->closed ? "stdout_closed"
		     : late    ? "drain_timeout"
			       : NULL);
	p->out.n = p->written = 0;
	return p->error ? -p->error : late ? -ETIMEDOUT : 0;
}

static bool print_held(struct sink *s, uint64_t *records, uint64_t *bytes)
{
	*records = print_of(s)->taken.records;
	*bytes = print_of(s)->taken.bytes;
	return *records != 0;
}

static const char *print_status(struct sink *s)
{
	struct print *p = print_of(s);
	snprintf(p->status, sizeof(p->status), "printed %llu calls%s", (unsigned long long)p->calls,
		 p->closed ? ", stdout closed" : "");
	return p->status;
}

const struct sink_ops sink_print = {
	.scheme = "print",
	.open = print_open,
	.submit = print_submit,
	.fd = print_fd,
	.service = print_service,
	.drain = print_drain,
	.held = print_held,
	.status = print_status,
	.finished = print_finished,
	.close = print_close,
};
