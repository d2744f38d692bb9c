/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/control_path.h"

enum { BACKLOG = 128 };
#define DEAF_NS 1000000000ull

struct metrics {
	struct metrics_cfg cfg;
	struct MHD_Daemon *daemon;
	int ep, daemon_ep, listener; /* ep holds daemon_ep */
	uint64_t begun; /* connections */
	uint64_t deaf_ns; /* since then nobody is served; 0: all are */
	char where[160], path[CONTROL_PATH_MAX + 1]; /* path: of a UNIX socket, ours to remove */
};

/* Sends and frees text. */
static enum MHD_Result reply(struct MHD_Connection *conn, unsigned status, const char *type,
			     struct text *text)
{
	if (text->failed) {
		text_fini(text);
		return MHD_NO;
	}
	struct MHD_Response *r =
		MHD_create_response_from_buffer(text->n, text->p, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		text_fini(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, "Content-Type", type);
	MHD_add_response_header(r, "Connection", "close"); /* a scraper must not hold a place */
	enum MHD_Result rc = MHD_queue_response(conn, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result reply_line(struct MHD_Connection *conn, unsigned status, const char *line)
{
	struct text text = {0};
	text_put_str(&text, line);
	return reply(conn, status, "text/plain; charset=utf-8", &text);
}

static enum MHD_Result metrics_page(struct metrics *m, struct MHD_Connection *conn)
{
	const char *accept = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Accept");
	bool openmetrics = accept && strstr(accept, "application/openmetrics-text");
	struct text text = {0};
	metrics_write(m->cfg.p, m->cfg.control, openmetrics, &text);
	return reply(conn, MHD_HTTP_OK,
		     openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				 : "text/plain; version=0.0.4; charset=utf-8",
		     &text);
}

static enum MHD_Result ready_page(struct metrics *m, struct MHD_Connection *conn)
{
	struct pipeline_status st = pipeline_status(m->cfg.p);
	if (st.attach_ops && !st.paused)
		return reply_line(conn, MHD_HTTP_OK, "mirroring\n");
	return reply_line(conn, MHD_HTTP_SERVICE_UNAVAILABLE,
			  st.paused ? "paused by sidetap ctl\n" : "not attached\n");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_n, void **state)
{
	struct metrics *m = ctx;
	(void)version;
	(void)data;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		if (*data_n) { /* a body is read away, not kept */
			*data_n = 0;
			return MHD_YES;
		}
		*state = m;
		return reply_line(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "allowed is GET\n");
	}
	if (strcmp(url, "/metrics") == 0)
		return metrics_page(m, conn);
	if (strcmp(url, "/readyz") == 0)
		return ready_page(m, conn);
	if (strcmp(url, "/healthz") == 0)
		return reply_line(conn, MHD_HTTP_OK, "ok\n");
	return reply_line(conn, MHD_HTTP_NOT_FOUND, "here are /metrics, /healthz, /readyz\n");
}

static int bind_tcp(struct metrics *m, const char *spec, char *err, size_t err_n)
{
	struct sockaddr_storage at = {0};
	struct sockaddr_in *v4 = (void *)&at;
	struct sockaddr_in6 *v6 = (void *)&at;
	char host[64];
	const char *colon = strrchr(spec, ':');
	bool is_v6 = spec[0] == '[';
	snprintf(host, sizeof(host), "%.*s", (int)(colon - spec) - 2 * is_v6, spec + is_v6);
	uint16_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	int on = 1, ok;
	if (is_v6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = port;
		ok = inet_pton(AF_INET6, host, &v6->sin6_addr);
	} else {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		ok = inet_pton(AF_INET, host, &v4->sin_addr);
	}
	socklen_t n = is_v6 ? sizeof(*v6) : sizeof(*v4);
	int fd = ok == 1 ? socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (void *)&at, n) < 0 || getsockname(fd, (void *)&at, &n) < 0) {
		snprintf(err, err_n, "metrics on %s: %s", spec, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	port = is_v6 ? v6->sin6_port : v4->sin_port;
	snprintf(m->where, sizeof(m->where), "%.*s:%u", (int)(colon - spec), spec, ntohs(port));
	pipeline_own_port(m->cfg.p, ntohs(port));
	return fd;
}

static int bind_unix(struct metrics *m, const char *path, char *err, size_t err_n)
{
	char why[400];
	int fd = control_path_bind(path, m->path, why, sizeof(why));
	if (fd < 0)
		snprintf(err, err_n, "metrics: %s", why);
	snprintf(m->where, sizeof(m->where), "unix:%s", m->path);
	return fd < 0 ? -1 : fd;
}

static void on_connection(void *ctx, struct MHD_Connection *conn, void **own,
			  enum MHD_ConnectionNotificationCode what)
{
	(void)conn;
	(void)own;
	((struct metrics *)ctx)->begun += what == MHD_CONNECTION_NOTIFY_STARTED;
}

static int daemon_start(struct metrics *m, int fd)
{
	m->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, m,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)METRICS_CLIENTS, MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)METRICS_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)METRICS_CLIENT_BYTES, MHD_OPTION_NOTIFY_CONNECTION,
				     on_connection, m, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		m->daemon ? MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	struct epoll_event e = {.events = EPOLLIN};
	if (!info)
		return -ENOMEM;
	m->listener = fd;
	m->daemon_ep = info->epoll_fd;
	m->ep = epoll_create1(EPOLL_CLOEXEC);
	return m->ep < 0 || epoll_ctl(m->ep, EPOLL_CTL_ADD, m->daemon_ep, &e) < 0 ? -errno : 0;
}

struct metrics *metrics_open(const struct metrics_cfg *cfg, char *err, size_t err_n)
{
	struct metrics *m = calloc(1, sizeof(*m));
	if (!m) {
		snprintf(err, err_n, "metrics: no memory");
		return NULL;
	}
	m->cfg = *cfg;
	m->ep = -1;
	bool local = strncmp(cfg->listen, "unix:", 5) == 0;
	int fd = local ? bind_unix(m, cfg->listen + 5, err, err_n)
		       : bind_tcp(m, cfg->listen, err, err_n);
	if (fd >= 0 && listen(fd, BACKLOG) < 0) {
		snprintf(err, err_n, "metrics on %s: %s", m->where, strerror(errno));
		close(fd);
		fd = -1;
	}
	if (fd >= 0 && daemon_start(m, fd) == 0)
		return m;
	if (fd >= 0) {
		snprintf(err, err_n, "metrics on %s: the HTTP server does not start", m->where);
		if (!m->daemon)
			close(fd);
	}
	metrics_close(m);
	return NULL;
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	if (m->daemon)
		MHD_stop_daemon(m->daemon); /* closes the socket */
	if (m->ep >= 0)
		close(m->ep);
	if (m->path[0])
		unlink(m->path);
	free(m);
}

int metrics_fd(const struct metrics *m)
{
	return m->ep;
}

static void serve_again(struct metrics *m, bool on)
{
	struct epoll_event e = {.events = on ? EPOLLIN : 0};
	epoll_ctl(m->ep, EPOLL_CTL_MOD, m->daemon_ep, &e);
	m->deaf_ns = on ? 0 : clock_ns(CLOCK_MONOTONIC);
}

static bool somebody_waits(const struct metrics *m)
{
	struct pollfd f = {.fd = m->listener, .events = POLLIN};
	return metrics_clients(m) < METRICS_CLIENTS && poll(&f, 1, 0) > 0;
}

/* Without a descriptor left, whoever waits would wake the loop again and again (P5): after DEAF_NS it is tried again. */
void metrics_service(struct metrics *m)
{
	if (m->deaf_ns && clock_ns(CLOCK_MONOTONIC) - m->deaf_ns < DEAF_NS)
		return;
	if (m->deaf_ns)
		serve_again(m, true);
	uint64_t begun = m->begun;
	bool waited = somebody_waits(m);
	MHD_run(m->daemon);
	if (waited && m->begun == begun && somebody_waits(m))
		serve_again(m, false);
}

unsigned metrics_clients(const struct metrics *m)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	return info ? info->num_connections : 0;
}

const char *metrics_where(const struct metrics *m)
{
	return m->where;
}
