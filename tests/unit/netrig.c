/* SPDX-License-Identifier: Apache-2.0 */
#include "netrig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

int netrig_netns(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};

	if (unshare(CLONE_NEWNET) != 0)
		return -errno;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int err = ioctl(fd, SIOCSIFFLAGS, &lo) != 0 ? -errno : 0;
	close(fd);
	return err;
}

static int cgroup2_mount(char *out, size_t n)
{
	char line[8192];
	FILE *f = fopen("/proc/self/mounts", "re");

	while (f && fgets(line, sizeof(line), f)) {
		char dir[4096], type[64];
		if (sscanf(line, "%*s %4095s %63s", dir, type) == 2 &&
		    strcmp(type, "cgroup2") == 0) {
			snprintf(out, n, "%s", dir);
			fclose(f);
			return 0;
		}
	}
	if (f)
		fclose(f);
	return -ENOENT;
}

int netrig_cgroup(const char *parent, const char *name, char *out, size_t out_n)
{
	char mount[4096];

	if (!parent && cgroup2_mount(mount, sizeof(mount)) != 0)
		return -ENOENT;
	if (parent)
		snprintf(out, out_n, "%s/%s", parent, name);
	else
		snprintf(out, out_n, "%s/netrig-%d-%s", mount, (int)getpid(), name);
	return mkdir(out, 0755) != 0 ? -errno : 0;
}

void netrig_cgroup_remove(const char *path)
{
	/* A process that has just been waited for may still be counted. */
	for (int i = 0; i < 1000 && rmdir(path) != 0 && errno == EBUSY; i++)
		usleep(1000);
}

static int enter(const char *cgroup)
{
	char file[4200];

	if (!cgroup)
		return 0;
	snprintf(file, sizeof(file), "%s/cgroup.procs", cgroup);
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	int err = fd < 0 || write(fd, "0", 1) != 1 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

uint8_t netrig_byte(int dir, uint64_t off)
{
	return (uint8_t)((off * 2654435761u >> 7) + (uint64_t)dir * 101);
}

static bool send_all(int fd, int dir, uint64_t *off, uint32_t n, uint32_t chunk)
{
	uint32_t size = chunk && chunk < n ? chunk : n;
	uint8_t *b = malloc(size ? size : 1);
	bool ok = b;

	while (ok && n) {
		uint32_t now = n < size ? n : size;
		for (uint32_t i = 0; i < now; i++)
			b[i] = netrig_byte(dir, *off + i);
		ok = send(fd, b, now, MSG_NOSIGNAL) == (ssize_t)now;
		*off += now;
		n -= now;
	}
	free(b);
	return ok;
}

static bool recv_all(int fd, int dir, uint64_t *off, uint32_t n)
{
	static uint8_t b[1 << 18];

	while (n) {
		ssize_t got = recv(fd, b, n < sizeof(b) ? n : sizeof(b), 0);
		if (got <= 0)
			return false;
		for (ssize_t i = 0; i < got; i++)
			if (b[i] != netrig_byte(dir, *off + (uint64_t)i))
				return false;
		*off += (uint64_t)got;
		n -= (uint32_t)got;
	}
	return true;
}

static socklen_t address(const struct netrig_talk *t, bool dial, struct sockaddr_storage *a)
{
	uint16_t port = htons(dial && t->dial_port ? t->dial_port : t->port);

	memset(a, 0, sizeof(*a));
	if (t->v6) {
		struct sockaddr_in6 *s = (void *)a;
		s->sin6_family = AF_INET6;
		s->sin6_port = port;
		if (dial)
			inet_pton(AF_INET6, t->dial ? t->dial : "::1", &s->sin6_addr);
		return sizeof(*s);
	}
	struct sockaddr_in *s = (void *)a;
	s->sin_family = AF_INET;
	s->sin_port = port;
	if (dial)
		inet_pton(AF_INET, t->dial ? t->dial : "127.0.0.1", &s->sin_addr);
	return sizeof(*s);
}

static int listen_on(const struct netrig_talk *t)
{
	struct sockaddr_storage a;
	socklen_t n = address(t, false, &a);
	int on = 1, fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, (void *)&a, n) == 0 && listen(fd, 16) == 0 ? fd : -1;
}

static int serve(const struct netrig_talk *t, int ready)
{
	uint64_t in = 0, out = 0;
	int fd, on = 1, l;
	bool ok = true;
	char rest;

	if (enter(t->server_cgroup) != 0 || (l = listen_on(t)) < 0 || write(ready, "s", 1) != 1)
		return 2;
	fd = accept(l, NULL, NULL);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (unsigned i = 0; ok && i < t->calls; i++)
		ok = recv_all(fd, 0, &in, t->request) && send_all(fd, 1, &out, t->reply, t->chunk);
	return ok && recv(fd, &rest, 1, 0) == 0 ? 0 : 1;
}

static int dial(const struct netrig_talk *t)
{
	struct sockaddr_storage a;
	socklen_t n = address(t, true, &a);
	int on = 1, fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (t->client_port) {
		struct sockaddr_in6 from = {.sin6_family = a.ss_family,
					    .sin6_port = htons(t->client_port)};
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (void *)&from, n) != 0)
			return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(fd, (void *)&a, n) == 0 ? fd : -1;
}

static int ask(const struct netrig_talk *t, int ready, int go)
{
	uint64_t in = 0, out = 0;
	bool ok = true;
	char c;
	int fd;

	if (enter(t->client_cgroup) != 0 || (fd = dial(t)) < 0)
		return 2;
	if (t->gate && (write(ready, "c", 1) != 1 || read(go, &c, 1) != 1))
		return 3;
	for (unsigned i = 0; ok && i < t->calls; i++)
		ok = send_all(fd, 0, &out, t->request, t->chunk) && recv_all(fd, 1, &in, t->reply);
	return ok ? 0 : 1;
}

/* One end in a process of its own, which dies with us. */
static pid_t spawn(const struct netrig_talk *t, bool server, int ready, int go)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(server ? serve(t, ready) : ask(t, ready, go));
}

/* A letter of a child within 10 s */
static int await(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	char c;

	return poll(&p, 1, 10000) == 1 && read(fd, &c, 1) == 1 ? 0 : -EIO;
}

int netrig_start(struct netrig_run *r, const struct netrig_talk *t)
{
	int ready[2], go[2], own = -1;

	if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0)
		return -errno;
	if (t->new_netns) {
		own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (netrig_netns() != 0)
			return -EPERM;
	}
	r->client = 0;
	r->ready = ready[0];
	r->go = go[1];
	r->server = spawn(t, true, ready[1], go[0]);
	int err = await(ready[0]);
	if (!err) {
		r->client = spawn(t, false, ready[1], go[0]);
		if (t->gate)
			err = await(ready[0]);
	}
	close(ready[1]);
	close(go[0]);
	if (own >= 0) {
		if (setns(own, CLONE_NEWNET) != 0)
			err = -errno;
		close(own);
	}
	return err;
}

void netrig_go(struct netrig_run *r)
{
	if (write(r->go, "g", 1) != 1)
		perror("netrig_go");
}

static bool ended(pid_t *pid, bool *ok)
{
	int status;

	if (*pid > 0) {
		pid_t got = waitpid(*pid, &status, WNOHANG);
		if (got == 0)
			return false;
		*ok &= got == *pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
		*pid = 0;
	}
	return true;
}

bool netrig_done(struct netrig_run *r, bool *ok)
{
	bool c = ended(&r->client, ok), s = ended(&r->server, ok);

	return c && s;
}

void netrig_stop(struct netrig_run *r)
{
	pid_t *all[] = {&r->client, &r->server};

	for (int i = 0; i < 2; i++) {
		if (*all[i] > 0) {
			kill(*all[i], SIGKILL);
			waitpid(*all[i], NULL, 0);
		}
		*all[i] = 0;
	}
	close(r->ready);
	close(r->go);
}

uint64_t netrig_retransmits(void)
{
	char line[1024];
	uint64_t n = 0;
	FILE *f = fopen("/proc/self/net/snmp", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tcp: %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &n) ==
		    1)
			break;
	if (f)
		fclose(f);
	return n;
}
