/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "capture/control.h"
#include "cli/ctl.h"

enum { ANSWER_MAX = 8 << 20, WAIT_MS = 10000, SHOWN_MAX = 8 };

static int connect_to(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	if (strlen(path) > CONTROL_PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (void *)&at, sizeof(at)) == 0)
		return fd;
	int rc = -errno;
	close(fd);
	return rc;
}

static bool answers(const char *path)
{
	int fd = connect_to(path);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || fd == -EACCES;
}

static void none(const char *dir)
{
	fprintf(stderr,
		"sidetap ctl: no capture is running here (no socket in %s answers): 'sidetap capture' starts "
		"one; one in a container is asked inside it; for another place give --socket PATH\n",
		dir);
}

int ctl_find(const char *path, char *out, size_t out_n)
{
	char dir[CONTROL_PATH_MAX], one[CONTROL_PATH_MAX + 260], shown[SHOWN_MAX * 60] = "";
	unsigned n = 0;
	if (path) {
		snprintf(out, out_n, "%s", path);
		return 0;
	}
	if (control_directory(dir, sizeof(dir)) < 0) {
		none("/run/sidetap or $XDG_RUNTIME_DIR/sidetap");
		return 1;
	}
	DIR *d = opendir(dir);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name), used = strlen(shown);
		snprintf(one, sizeof(one), "%s/%s", dir, e->d_name);
		if (len <= 5 || strcmp(e->d_name + len - 5, ".sock") != 0 || !answers(one))
			continue;
		snprintf(out, out_n, "%s", one);
		if (n++ < SHOWN_MAX)
			snprintf(shown + used, sizeof(shown) - used, " %.50s", one);
	}
	if (d)
		closedir(d);
	if (n == 0)
		none(dir);
	if (n > 1)
		fprintf(stderr, "sidetap ctl: %u captures are running: choose one by --socket:%s\n",
			n, shown);
	return n == 1 ? 0 : n == 0 ? 1 : 2;
}

/* Until the end of the line, or of time */
static int read_answer(int fd, struct buf *in)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + WAIT_MS * 1000000ull;
	for (uint64_t now; (now = clock_ns(CLOCK_MONOTONIC)) < end;) {
		char chunk[65536];
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) < 0 && errno != EINTR)
			return -errno;
		ssize_t n = p.revents ? read(fd, chunk, sizeof(chunk)) : -1;
		if (n == 0)
			return in->n ? 0 : -ECONNRESET;
		if (n < 0 && p.revents)
			return -errno;
		if (n > 0 && (in->n + (size_t)n > ANSWER_MAX ||
			      buf_append(in, bytes_of(chunk, (size_t)n)) < 0))
			return -E2BIG;
	}
	return -ETIMEDOUT;
}

static int exchange(int fd, const json_t *request, struct buf *in)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;
	if (!text)
		return -ENOMEM;
	text[n] = '\n'; /* the length is known */
	for (size_t at = 0; at <= n;) {
		ssize_t put = send(fd, text + at, n + 1 - at, MSG_NOSIGNAL);
		if (put < 0)
			break; /* it has said why, perhaps */
		at += (size_t)put;
	}
	free(text);
	return read_answer(fd, in);
}

json_t *ctl_ask(const char *path, const json_t *request, char *err, size_t err_n)
{
	char safe[200];
	struct buf in = {0};
	json_error_t e;
	log_escape(safe, sizeof(safe), bytes_str(path));
	int fd = connect_to(path);
	int rc = fd < 0 ? fd : exchange(fd, request, &in);
	if (fd >= 0)
		close(fd);
	json_t *out = rc == 0 ? json_loadb((const char *)in.p, in.n, 0, &e) : NULL;
	buf_fini(&in);
	if (rc == -ECONNREFUSED || rc == -ENOENT)
		snprintf(err, err_n,
			 "no capture answers at %s: is it running, and is that its --socket?",
			 safe);
	else if (rc == -EACCES)
		snprintf(err, err_n, "%s belongs to another user: ask as that user, or as root",
			 safe);
	else if (rc == -ETIMEDOUT)
		snprintf(err, err_n, "the capture at %s did not answer within 10 s", safe);
	else if (rc < 0)
		snprintf(err, err_n, "%s: %s", safe, strerror(-rc));
	else if (!json_is_object(out))
		snprintf(err, err_n, "%s answered no JSON: is that the socket of a capture?", safe);
	if (json_is_object(out))
		return out;
	json_decref(out);
	return NULL;
}
