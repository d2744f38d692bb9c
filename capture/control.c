/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "capture/control_path.h"

enum { ACCEPTS = 32, BACKLOG = 16 }; /* accepted in one turn */
#define DEAF_NS 1000000000ull

struct client {
	int fd; /* -1: free */
	uint64_t since_ns;
	struct buf in;
	char *out; /* the answer, once there is one */
	size_t out_n, sent;
};

struct control {
	struct control_cfg cfg;
	char path[CONTROL_PATH_MAX + 1];
	int fd, ep;
	uint64_t deaf_ns; /* since then it does not accept; 0: it does */
	struct client clients[CONTROL_CLIENTS];
	struct control_counts counts;
};

json_t *control_error(int code, const char *fmt, ...)
{
	char text[700];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return json_pack("{s:b, s:i, s:s}", "ok", 0, "code", code, "error", text);
}

static void drop(struct control *c, struct client *cl)
{
	close(cl->fd);
	cl->fd = -1;
	buf_fini(&cl->in);
	free(cl->out);
	cl->out = NULL;
	c->counts.clients--;
}

/* Sends what the socket takes; the client is gone when all was sent, or it is. */
static void send_some(struct control *c, struct client *cl)
{
	while (cl->sent < cl->out_n) {
		ssize_t n = send(cl->fd, cl->out + cl->sent, cl->out_n - cl->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			struct epoll_event e = {.events = EPOLLOUT, .data.ptr = cl};
			epoll_ctl(c->ep, EPOLL_CTL_MOD, cl->fd, &e);
			return;
		}
		if (n < 0)
			break;
		cl->sent += (size_t)n;
	}
	drop(c, cl);
}

/* Takes the answer. */
static void answer(struct control *c, struct client *cl, json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(reply);
	if (!text) {
		drop(c, cl);
		return;
	}
	cl->out = text;
	cl->out_n = strlen(text);
	text[cl->out_n++] = '\n'; /* in the place of the NUL: the length is known */
	send_some(c, cl);
}

static void refuse(struct control *c, struct client *cl, const char *why)
{
	c->counts.refused_request++;
	answer(c, cl, control_error(2, "%s", why));
}

static void request(struct control *c, struct client *cl, size_t n)
{
	json_error_t e;
	json_t *r = json_loadb((const char *)cl->in.p, n, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(r) || !json_is_string(json_object_get(r, "command"))) {
		refuse(c, cl, "a request is one line, {\"command\": \"status\"}");
	} else {
		c->counts.requests++;
		answer(c, cl, c->cfg.handle(c->cfg.ctx, r));
	}
	json_decref(r);
}

static void read_some(struct control *c, struct client *cl)
{
	uint8_t chunk[8192];
	for (;;) {
		ssize_t n = recv(cl->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) { /* gone before its request ended */
			drop(c, cl);
			return;
		}
		const uint8_t *end = memchr(chunk, '\n', (size_t)n);
		size_t take = end ? (size_t)(end - chunk) : (size_t)n;
		if (cl->in.n + take > CONTROL_REQUEST_MAX) {
			refuse(c, cl, "the request is larger than 256 KiB");
			return;
		}
		if (buf_append(&cl->in, bytes_of(chunk, take)) < 0) {
			drop(c, cl);
			return;
		}
		if (end) {
			request(c, cl, cl->in.n);
			return;
		}
	}
}

static void turn_away(uint64_t *count, int fd, const char *text)
{
	++*count;
	if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		errno = 0; /* it did not wait to hear it */
	close(fd);
}

static struct client *free_place(struct control *c)
{
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (c->clients[i].fd < 0)
			return &c->clients[i];
	return NULL;
}

static void take_in(struct control *c, int fd, uint64_t now_ns)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t n = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 ||
	    (peer.uid != 0 && peer.uid != geteuid())) {
		turn_away(
			&c->counts.refused_uid, fd,
			"{\"ok\":false,\"code\":1,\"error\":\"only the owner of the capture and root "
			"may ask\"}\n");
		return;
	}
	struct client *cl = free_place(c);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = cl};
	if (!cl || epoll_ctl(c->ep, EPOLL_CTL_ADD, fd, &e) < 0) {
		turn_away(
			&c->counts.refused_busy, fd,
			"{\"ok\":false,\"code\":1,\"error\":\"too many clients at once: try again\"}\n");
		return;
	}
	*cl = (struct client) {.fd = fd, .since_ns = now_ns};
	c->counts.clients++;
}

/* Without a descriptor or memory left, whoever waits would wake the loop again and again (P5): it listens again after
 * DEAF_NS. */
static void listen_again(struct control *c, bool on, uint64_t now_ns)
{
	struct epoll_event e = {.events = on ? EPOLLIN : 0, .data.ptr = NULL};
	epoll_ctl(c->ep, EPOLL_CTL_MOD, c->fd, &e);
	c->deaf_ns = on ? 0 : now_ns;
}

static void accept_some(struct control *c, uint64_t now_ns)
{
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			listen_again(c, false, now_ns);
		if (fd < 0)
			return;
		take_in(c, fd, now_ns);
	}
}

static void expire(struct control *c, uint64_t now_ns)
{
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *cl = &c->clients[i];
		if (cl->fd >= 0 && now_ns - cl->since_ns >= CONTROL_MS * 1000000ull) {
			c->counts.timed_out++;
			drop(c, cl);
		}
	}
}

void control_service(struct control *c, uint64_t now_ns)
{
	struct epoll_event e[CONTROL_CLIENTS + 1];
	if (c->deaf_ns && now_ns - c->deaf_ns >= DEAF_NS)
		listen_again(c, true, now_ns);
	int n = epoll_wait(c->ep, e, CONTROL_CLIENTS + 1, 0);
	for (int i = 0; i < n; i++) {
		struct client *cl = e[i].data.ptr;
		if (!cl)
			accept_some(c, now_ns);
		else if (cl->fd >= 0 && cl->out)
			send_some(c, cl);
		else if (cl->fd >= 0)
			read_some(c, cl);
	}
	expire(c, now_ns);
}

struct control *control_open(const struct control_cfg *cfg, char *err, size_t err_n)
{
	struct control *c = calloc(1, sizeof(*c));
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
	if (!c) {
		snprintf(err, err_n, "no memory");
		return NULL;
	}
	c->cfg = *cfg;
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		c->clients[i].fd = -1;
	c->ep = epoll_create1(EPOLL_CLOEXEC);
	c->fd = control_path_bind(cfg->path, c->path, err, err_n);
	if (c->fd >= 0 && (c->ep < 0 || listen(c->fd, BACKLOG) < 0 ||
			   epoll_ctl(c->ep, EPOLL_CTL_ADD, c->fd, &e) < 0)) {
		snprintf(err, err_n, "%s: %s", c->path, strerror(errno));
		unlink(c->path);
		close(c->fd);
		c->fd = -1;
	}
	if (c->fd >= 0)
		return c;
	if (c->ep >= 0)
		close(c->ep);
	free(c);
	return NULL;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			drop(c, &c->clients[i]);
	unlink(c->path);
	close(c->fd);
	close(c->ep);
	free(c);
}

const char *control_path(const struct control *c)
{
	return c->path;
}

int control_fd(const struct control *c)
{
	return c->ep;
}

struct control_counts control_counts(const struct control *c)
{
	return c->counts;
}
