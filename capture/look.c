/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/cgroup_owner.h"
#include "capture/sandbox.h"

enum { PORTS_MAX = 1024, SPEC_MAX = 4096, PATHS_BYTES = 65536 };
enum {
	SOCKETS_MS = 1000,
	CGROUPS_MS = 10000
}; /* a look takes less, but the asker must not wait for ever */

enum kind { SOCKETS, CGROUPS };

struct ask {
	uint32_t seq; /* the answer has the same: a late one is passed over */
	uint32_t kind, pid, from, n_ports;
	/* of CGROUPS only: the others end here */
	uint16_t ports[PORTS_MAX];
	char spec[SPEC_MAX];
};

struct cgroups {
	uint32_t n;
	bool root, chosen;
	struct cgroup_netns seen;
	uint64_t dev[CGROUP_DIRS_MAX], ino[CGROUP_DIRS_MAX];
	char text[PATHS_BYTES]; /* the paths, each with its NUL; else what failed */
};

struct answer {
	uint32_t seq;
	int32_t rc;
	union {
		struct look_slice sockets;
		struct cgroups cgroups;
	};
};

/* With the descriptors of the cgroups' directories */
struct letter {
	struct iovec v;
	union {
		char room[CMSG_SPACE(CGROUP_DIRS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
};

static struct {
	int fd; /* -1: by ourselves */
	pid_t pid;
	uint32_t seq;
} looker = {.fd = -1};

/* Of the one question that is under way; each of the two processes has its own. */
static struct ask ask;
static struct answer answer;

/* ---- the looks ---- */

static bool socket_inode(int dir, const char *name, uint32_t *inode)
{
	char link[64];
	unsigned long n;
	ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);

	if (len <= 0)
		return false;
	link[len] = 0;
	if (sscanf(link, "socket:[%lu]", &n) != 1 || !n || n > UINT32_MAX)
		return false;
	*inode = (uint32_t)n;
	return true;
}

static int sockets_of(pid_t pid, uint32_t from, struct look_slice *out)
{
	char path[64];
	struct dirent *e;

	out->n = out->looked = out->next = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(path);
	if (!d)
		return -errno;
	if (from) /* its position is the descriptor behind "." and ".." (fs/proc/fd.c) */
		seekdir(d, (long)from + 2);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		uint32_t fd = (uint32_t)strtoul(e->d_name, NULL, 10);
		if (out->looked == LOOK_SLICE) {
			out->next = fd;
			break;
		}
		out->looked++;
		if (socket_inode(dirfd(d), e->d_name, &out->inodes[out->n]))
			out->n++;
	}
	closedir(d);
	return 0;
}

static int cgroups_of(struct cgroup_set *s, struct cgroup_netns *seen, const char *spec,
		      const uint16_t *ports, size_t n_ports, char *err, size_t err_n)
{
	int rc = cgroup_set_open(s, spec, ports, n_ports, err, err_n);
	if (rc == 0)
		*seen = cgroup_set_netns(s);
	return rc;
}

static size_t ask_bytes(void)
{
	return ask.kind == CGROUPS ? sizeof(ask) : offsetof(struct ask, ports);
}

/* ---- who answers ---- */

static int pack(struct cgroups *c, const struct cgroup_set *s, size_t *text_n)
{
	c->n = (uint32_t)s->n;
	c->root = s->root;
	c->chosen = s->chosen;
	*text_n = 0;
	for (size_t i = 0; i < s->n; i++) {
		size_t n = strlen(s->d[i].path) + 1;
		if (*text_n + n > sizeof(c->text))
			return -E2BIG;
		memcpy(c->text + *text_n, s->d[i].path, n);
		*text_n += n;
		c->dev[i] = s->d[i].dev;
		c->ino[i] = s->d[i].ino;
	}
	return 0;
}

static void enclose(struct letter *l, struct msghdr *m, const struct cgroup_set *s)
{
	m->msg_control = l->control.room;
	m->msg_controllen = CMSG_SPACE(s->n * sizeof(int));
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(s->n * sizeof(int));
	for (size_t i = 0; i < s->n; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &s->d[i].fd, sizeof(int));
}

static void answer_cgroups(int fd)
{
	struct answer *a = &answer;
	struct letter l = {.v = {a, offsetof(struct answer, cgroups.text)}};
	struct msghdr m = {.msg_iov = &l.v, .msg_iovlen = 1};
	struct cgroup_set s;
	size_t text_n = 0;

	a->rc = cgroups_of(&s, &a->cgroups.seen, ask.spec, ask.ports, ask.n_ports, a->cgroups.text,
			   sizeof(a->cgroups.text));
	if (a->rc == 0)
		a->rc = pack(&a->cgroups, &s, &text_n);
	if (a->rc == -E2BIG && text_n)
		snprintf(a->cgroups.text, sizeof(a->cgroups.text),
			 "the names of the cgroups are too long");
	if (a->rc < 0)
		text_n = strlen(a->cgroups.text) + 1;
	else
		enclose(&l, &m, &s);
	l.v.iov_len += text_n;
	(void)!sendmsg(fd, &m, MSG_NOSIGNAL);
	cgroup_set_close(&s);
}

static void answer_sockets(int fd)
{
	answer.rc = sockets_of((pid_t)ask.pid, ask.from, &answer.sockets);
	size_t n = offsetof(struct answer, sockets) + sizeof(answer.sockets);
	(void)!send(fd, &answer, n, MSG_NOSIGNAL);
}

static void answer_all(int fd)
{
	for (;;) {
		ssize_t n = recv(fd, &ask, sizeof(ask), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)ask_bytes() || ask.n_ports > PORTS_MAX)
			return; /* the asker has ended */
		answer.seq = ask.seq;
		if (ask.kind == CGROUPS)
			answer_cgroups(fd);
		else
			answer_sockets(fd);
	}
}

static void ignore_signals(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
}

static void be_looker(int fd, pid_t asker)
{
	char err[200];

	prctl(PR_SET_NAME, "sidetap-look", 0, 0, 0);
	cgroup_owner_leave_out(asker);
	/* What cannot be dropped here, the asker could not drop either, and says so. */
	(void)sandbox_drop(SANDBOX_LOOK, err, sizeof(err));
	(void)sandbox_calls_only(false, err, sizeof(err));
	answer_all(fd);
	_exit(0);
}

int look_begin(void)
{
	pid_t asker = getpid();
	sigset_t all, before;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	sigfillset(&all); /* none of those that it ignores may come before it does */
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		ignore_signals();
		sigprocmask(SIG_SETMASK, &before, NULL);
		be_looker(pair[1], asker);
	}
	int e = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	if (e)
		close(pair[0]);
	else
		looker.fd = pair[0];
	looker.pid = pid;
	return e;
}

bool look_is_apart(void)
{
	return looker.fd >= 0;
}

void look_end(void)
{
	if (looker.fd < 0)
		return;
	close(looker.fd); /* it reads the end, and ends */
	looker.fd = -1;
	while (waitpid(looker.pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- who asks ---- */

static void drop_fds(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			close(fd);
		}
}

/* Gets the answer to `ask`, within the time; m says which descriptors came. Its length, -errno. */
static ssize_t asked(struct letter *l, struct msghdr *m, int ms)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000;

	ask.seq = ++looker.seq;
	if (send(looker.fd, &ask, ask_bytes(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		uint64_t left = now < end ? end - now : 1000;
		struct timeval tv = {(time_t)(left / 1000000000),
				     (suseconds_t)(left % 1000000000 / 1000)};
		(void)setsockopt(looker.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		l->v = (struct iovec) {&answer, sizeof(answer)};
		*m = (struct msghdr) {.msg_iov = &l->v,
				      .msg_iovlen = 1,
				      .msg_control = l->control.room,
				      .msg_controllen = sizeof(l->control.room)};
		ssize_t n = recvmsg(looker.fd, m, MSG_CMSG_CLOEXEC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -EAGAIN : -EPIPE;
		if (n < (ssize_t)offsetof(struct answer, sockets))
			return -EPIPE;
		if (answer.seq == ask.seq)
			return n;
		drop_fds(m);
	}
}

int look_sockets(pid_t pid, uint32_t from, struct look_slice *out)
{
	struct letter l;
	struct msghdr m;

	if (looker.fd < 0)
		return sockets_of(pid, from, out);
	ask.kind = SOCKETS;
	ask.pid = (uint32_t)pid;
	ask.from = from;
	ask.n_ports = 0;
	ssize_t n = asked(&l, &m, SOCKETS_MS);
	if (n < 0)
		return (int)n;
	if (n < (ssize_t)(offsetof(struct answer, sockets) + sizeof(*out)) ||
	    answer.sockets.n > LOOK_SLICE)
		return -EPIPE;
	*out = answer.sockets;
	return answer.rc;
}

/* Takes the descriptors of m into the set. */
static int unpack(struct cgroup_set *s, const struct cgroups *c, size_t text_n, struct msghdr *m)
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);
	const char *path = c->text, *end = c->text + text_n;

	if (c->n > CGROUP_DIRS_MAX || !h || h->cmsg_len != CMSG_LEN(c->n * sizeof(int))) {
		drop_fds(m);
		return m->msg_flags & MSG_CTRUNC ? -EMFILE : -EPIPE; /* none left to receive them */
	}
	*s = (struct cgroup_set) {.root = c->root, .chosen = c->chosen, .n = c->n};
	int rc = 0;
	for (size_t i = 0; i < c->n; i++) {
		size_t n = path < end ? strnlen(path, (size_t)(end - path)) : 0;
		s->d[i] = (struct cgroup_dir) {
			.path = strndup(path, n), .dev = c->dev[i], .ino = c->ino[i]};
		memcpy(&s->d[i].fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
		rc = s->d[i].path ? rc : -ENOMEM;
		path += n + 1;
	}
	if (rc < 0)
		cgroup_set_close(s);
	return rc;
}

int look_cgroups(struct cgroup_set *s, struct cgroup_netns *seen, const char *spec,
		 const uint16_t *ports, size_t n_ports, char *err, size_t err_n)
{
	const struct answer *a = &answer;
	struct letter l;
	struct msghdr m;

	if (looker.fd < 0)
		return cgroups_of(s, seen, spec, ports, n_ports, err, err_n);
	*s = (struct cgroup_set) {0};
	if (n_ports > PORTS_MAX || (spec && strlen(spec) >= SPEC_MAX)) {
		snprintf(err, err_n, "cgroup: the list is too long");
		return -E2BIG;
	}
	ask.kind = CGROUPS;
	ask.n_ports = (uint32_t)n_ports;
	if (n_ports)
		memcpy(ask.ports, ports, n_ports * sizeof(*ports));
	snprintf(ask.spec, sizeof(ask.spec), "%s", spec ? spec : "");
	ssize_t n = asked(&l, &m, CGROUPS_MS), head = offsetof(struct answer, cgroups.text);
	int rc = n < head ? (n == -EAGAIN ? -ETIMEDOUT : -EPIPE) : a->rc;
	if (rc == 0)
		rc = unpack(s, &a->cgroups, (size_t)(n - head), &m);
	if (rc == 0)
		*seen = a->cgroups.seen;
	else if (n > head && a->rc < 0)
		snprintf(err, err_n, "%.*s", (int)(n - head), a->cgroups.text);
	else if (rc == -EMFILE)
		snprintf(err, err_n, "cgroup: %s: raise the limit of open files (ulimit -n)",
			 strerror(-rc));
	else
		snprintf(err, err_n,
			 "cgroup: the process that looks into others does not answer: %s",
			 strerror(-rc));
	return rc;
}
