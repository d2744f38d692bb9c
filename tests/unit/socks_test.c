/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/socks.h"
#include "capture/socks_owner.h"

#define SECOND 1000000000ull

/* A connection with itself: listener, client end, server end */
struct pair {
	int listener, client, server;
	struct socks_tuple t; /* of the client end */
};

static void mapped(uint8_t to[16], const struct sockaddr_storage *a, uint16_t *port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
	memset(to, 0, 16);
	if (a->ss_family == AF_INET6) {
		memcpy(to, &v6->sin6_addr, 16);
	} else {
		to[10] = to[11] = 0xff;
		memcpy(to + 12, &v4->sin_addr, 4);
	}
	*port = ntohs(v6->sin6_port);
}

static socklen_t loopback(struct sockaddr_storage *a, int family, bool any)
{
	memset(a, 0, sizeof(*a));
	a->ss_family = (sa_family_t)family;
	if (family == AF_INET6) {
		((struct sockaddr_in6 *)a)->sin6_addr = any ? in6addr_any : in6addr_loopback;
		return sizeof(struct sockaddr_in6);
	}
	((struct sockaddr_in *)a)->sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
	return sizeof(struct sockaddr_in);
}

static int listener(int family, bool any, uint16_t *port)
{
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, family, any);
	int fd = socket(family, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 8), 0);
	n = sizeof(a);
	getsockname(fd, (struct sockaddr *)&a, &n);
	*port = ntohs(((struct sockaddr_in *)&a)->sin_port);
	return fd;
}

static struct pair connect_pair(int listen_family, bool any, int client_family)
{
	struct pair p;
	struct sockaddr_storage a;
	uint16_t port;
	p.listener = listener(listen_family, any, &port);
	p.client = socket(client_family, SOCK_STREAM, 0);
	socklen_t n = loopback(&a, client_family, false);
	((struct sockaddr_in *)&a)->sin_port = htons(port);
	assert_int_equal(connect(p.client, (struct sockaddr *)&a, n), 0);
	p.server = accept(p.listener, NULL, NULL);
	assert_true(p.server >= 0);
	n = sizeof(a);
	getsockname(p.client, (struct sockaddr *)&a, &n);
	mapped(p.t.local, &a, &p.t.lport);
	n = sizeof(a);
	getpeername(p.client, (struct sockaddr *)&a, &n);
	mapped(p.t.remote, &a, &p.t.rport);
	return p;
}

static void close_pair(struct pair *p)
{
	struct linger reset = {1, 0};
	setsockopt(p->client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(p->client);
	close(p->server);
	close(p->listener);
}

static struct socks_tuple mirror(const struct socks_tuple *t)
{
	struct socks_tuple m = {.lport = t->rport, .rport = t->lport};
	memcpy(m.local, t->remote, 16);
	memcpy(m.remote, t->local, 16);
	return m;
}

static void send_all(int from, int to, size_t n)
{
	char block[4096] = {0};
	for (size_t at = 0; at < n;) {
		size_t want = n - at < sizeof(block) ? n - at : sizeof(block);
		ssize_t got = write(from, block, want);
		assert_true(got > 0);
		for (ssize_t left = got; left;) {
			ssize_t r = read(to, block, (size_t)left);
			assert_true(r > 0);
			left -= r;
		}
		at += (size_t)got;
	}
}

struct seek {
	struct socks_tuple t;
	struct socks_entry found;
	unsigned times, listening;
};

static void seek(void *ctx, const struct socks_entry *e)
{
	struct seek *s = ctx;
	s->listening += e->state == SOCKS_LISTEN;
	if (memcmp(&e->t, &s->t, sizeof(s->t)) != 0)
		return;
	s->found = *e;
	s->times++;
}

static void dump_counts_bytes(void **state)
{
	(void)state;
	const int families[3][2] = {{AF_INET, AF_INET}, {AF_INET6, AF_INET6}, {AF_INET6, AF_INET}};
	struct socks *s = socks_new();
	assert_non_null(s);
	for (size_t i = 0; i < 3; i++) {
		struct pair p = connect_pair(families[i][0], true, families[i][1]);
		send_all(p.client, p.server, 12345);
		send_all(p.server, p.client, 777);
		struct seek k = {.t = p.t};
		/* the acknowledgement may trail the read */
		for (unsigned tries = 0; tries < 1000 && k.found.bytes_acked < 12345; tries++) {
			k.times = 0;
			assert_int_equal(socks_dump(s, 1u << SOCKS_ESTABLISHED, true, seek, &k), 0);
			poll(NULL, 0, 1);
		}
		assert_int_equal(k.times, 1);
		assert_int_equal(k.listening, 0);
		assert_true(k.found.has_info);
		/* some kernels count the SYN, one byte */
		assert_in_range(k.found.bytes_acked, 12345, 12346);
		assert_int_equal(k.found.bytes_received, 777);
		assert_int_equal(k.found.uid, geteuid());
		struct stat st;
		fstat(p.client, &st);
		assert_int_equal(k.found.inode, st.st_ino);
		close_pair(&p);
	}
	socks_free(s);
}

static const uint8_t v4_loopback[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1},
		     v6_loopback[16] = {[15] = 1}, v4_other[16] = {[10] = 0xff, 0xff, 10, 9, 8, 7};

static void listens_by_address(void **state)
{
	(void)state;
	struct socks *s = socks_new();
	uint64_t now = 5 * SECOND;
	uint16_t exact, any, dual, only6;
	int a = listener(AF_INET, false, &exact), b = listener(AF_INET, true, &any),
	    c = listener(AF_INET6, true, &dual), d = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
	struct sockaddr_storage addr;
	socklen_t n = loopback(&addr, AF_INET6, true);
	setsockopt(d, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	bind(d, (struct sockaddr *)&addr, n);
	listen(d, 1);
	getsockname(d, (struct sockaddr *)&addr, &n);
	only6 = ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);

	assert_true(socks_listens(s, v4_loopback, exact, now));
	assert_false(socks_listens(s, v4_other, exact, now));
	assert_false(socks_listens(s, v6_loopback, exact, now));
	assert_true(socks_listens(s, v4_other, any, now));
	assert_false(socks_listens(s, v6_loopback, any, now));
	assert_true(socks_listens(s, v4_loopback, dual, now));
	assert_true(socks_listens(s, v6_loopback, dual, now));
	assert_false(socks_listens(s, v4_loopback, only6, now));
	assert_true(socks_listens(s, v6_loopback, only6, now));
	close(a);
	/* time is an argument: the list is read anew after a second, not before */
	assert_true(socks_listens(s, v4_loopback, exact, now + SECOND - 1));
	assert_false(socks_listens(s, v4_loopback, exact, now + SECOND));
	close(b);
	close(c);
	close(d);
	socks_free(s);
}

static void exists_exactly(void **state)
{
	(void)state;
	const int families[3][2] = {{AF_INET, AF_INET}, {AF_INET6, AF_INET6}, {AF_INET6, AF_INET}};
	struct socks *s = socks_new();
	for (size_t i = 0; i < 3; i++) {
		struct pair p = connect_pair(families[i][0], true, families[i][1]);
		struct socks_tuple server = mirror(&p.t), none = server;
		assert_true(socks_exists(s, &p.t));
		assert_true(socks_exists(s, &server));
		none.rport ^= 1; /* the kernel answers with the listener */
		assert_false(socks_exists(s, &none));
		close_pair(&p);
		assert_false(socks_exists(s, &p.t));
		assert_false(socks_exists(s, &server));
	}
	socks_free(s);
}

static void time_wait_is_over(void **state)
{
	(void)state;
	struct socks *s = socks_new();
	struct pair p = connect_pair(AF_INET, false, AF_INET);
	struct seek k = {.t = p.t};
	close(p.client);
	char c;
	assert_int_equal(read(p.server, &c, 1), 0);
	close(p.server);
	close(p.listener);
	for (unsigned tries = 0; tries < 1000 && !k.times; tries++) {
		socks_dump(s, 1u << SOCKS_TIME_WAIT, false, seek, &k);
		poll(NULL, 0, 1);
	}
	assert_int_equal(k.times, 1);
	assert_false(socks_exists(s, &p.t));
	socks_free(s);
}

/* Asks until the slices of the scan have met it */
static int owner(struct socks *s, const struct socks_tuple *t, bool server, uint64_t now, char *out,
		 size_t n)
{
	int rc = -EAGAIN;
	for (unsigned i = 0; i < 10000 && rc == -EAGAIN; i++)
		rc = socks_owner(s, t, server, now, out, n);
	return rc;
}

static void owner_is_named_and_escaped(void **state)
{
	(void)state;
	char got[160], want[160], comm[17];
	struct socks *s = socks_new();
	struct pair p = connect_pair(AF_INET, false, AF_INET);
	prctl(PR_GET_NAME, comm);
	prctl(PR_SET_NAME, "a\x1b[31m)b");
	snprintf(want, sizeof(want), "a\\x1b[31m)b(%d)", getpid());
	assert_int_equal(owner(s, &p.t, false, SECOND, got, sizeof(got)), 0);
	assert_string_equal(got, want);
	prctl(PR_SET_NAME, comm);
	/* a connection that nobody accepted yet has no owner of its own: the listener's */
	struct socks_tuple gone = mirror(&p.t);
	gone.rport ^= 1;
	assert_int_equal(owner(s, &gone, true, 2 * SECOND, got, sizeof(got)), 0);
	assert_int_equal(owner(s, &gone, false, 3 * SECOND, got, sizeof(got)), -ENOENT);
	close_pair(&p);
	socks_free(s);
}

/* A scan of many slices may come once a second; one of a single slice, as in a pod, ten times.
 * How long it is on this machine is another matter: the test says it. */
static void owner_scans_once_a_second(void **state)
{
	(void)state;
	static struct owner o;
	struct stat a, b, c;
	uint32_t pid;
	int rc = -EAGAIN, fd = socket(AF_INET, SOCK_STREAM, 0);
	fstat(fd, &a);
	for (unsigned i = 0; i < 10000 && rc == -EAGAIN; i++)
		rc = owner_find(&o, (uint32_t)a.st_ino, SECOND, &pid);
	assert_int_equal(rc, 0);
	assert_int_equal(pid, getpid());
	while (o.proc) /* the scan runs to its end */
		owner_find(&o, 0xfffffff0, SECOND, &pid);
	int fd2 = socket(AF_INET, SOCK_STREAM, 0);
	fstat(fd2, &b);
	o.looked = 2;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(owner_find(&o, (uint32_t)b.st_ino, 2 * SECOND - 1, &pid), -EAGAIN);
	assert_null(o.proc);
	rc = -EAGAIN;
	for (unsigned i = 0; i < 10000 && rc == -EAGAIN; i++)
		rc = owner_find(&o, (uint32_t)b.st_ino, 2 * SECOND, &pid);
	assert_int_equal(rc, 0);
	/* nobody: known once a whole scan that began later has passed; inode 0 at once */
	assert_int_equal(owner_find(&o, 0, 2 * SECOND, &pid), -ENOENT);
	rc = -EAGAIN;
	for (unsigned i = 0; i < 10000 && rc == -EAGAIN; i++)
		rc = owner_find(&o, 0xfffffffe, 4 * SECOND, &pid);
	assert_int_equal(rc, -ENOENT);
	int fd3 = socket(AF_INET, SOCK_STREAM, 0);
	fstat(fd3, &c);
	o.looked = 1;
	o.second_ns = 4 * SECOND;
	o.scans = 9; /* the tenth may begin, an eleventh not */
	rc = -EAGAIN;
	for (unsigned i = 0; i < 10000 && rc == -EAGAIN; i++)
		rc = owner_find(&o, (uint32_t)c.st_ino, 5 * SECOND - 2, &pid);
	assert_int_equal(rc, 0);
	while (o.proc)
		owner_find(&o, 0xfffffff0, 5 * SECOND - 2, &pid);
	o.looked = 1;
	assert_int_equal(owner_find(&o, 0xfffffff1, 5 * SECOND - 1, &pid), -EAGAIN);
	assert_null(o.proc);
	owner_fini(&o);
	close(fd);
	close(fd2);
	close(fd3);
}

/* The table has one size, whatever comes; what was asked last is still there. */
static void owner_table_is_bounded(void **state)
{
	(void)state;
	static struct owner o;
	uint32_t pid;
	o.scanned = true;
	o.second_ns = 1; /* no scan: a second has not passed since the last, which was a long one */
	o.looked = 2;
	o.scans = 1;
	for (uint32_t inode = 1; inode < 100000; inode++)
		assert_int_equal(owner_find(&o, inode, inode, &pid), -EAGAIN);
	unsigned used = 0, newest = 0;
	for (size_t i = 0; i < OWNER_SLOTS; i++) {
		used += o.slots[i].inode != 0;
		newest += o.slots[i].inode == 99999;
	}
	assert_true(used > OWNER_SLOTS / 2);
	assert_int_equal(newest, 1);
	owner_fini(&o);
}

/* P5: no descriptor left: NULL, and no owner is denied for want of one. */
static void p5_descriptors_run_out(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		static struct owner o;
		uint32_t pid;
		struct rlimit none = {4, 4};
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		int taken = dup(2);
		setrlimit(RLIMIT_NOFILE, &none);
		bool ok = taken == 3 && socks_new() == NULL;
		for (unsigned i = 1; i < 10; i++)
			ok = ok && owner_find(&o, 0xfffffffe, i * 2 * SECOND, &pid) == -EAGAIN;
		close(taken); /* one: /proc opens, no /proc/PID/fd does */
		for (unsigned i = 10; i < 20; i++)
			ok = ok && owner_find(&o, 0xfffffffe, i * 2 * SECOND, &pid) == -EAGAIN;
		_exit(ok ? 0 : 1);
	}
	int status = -1;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dump_counts_bytes),
		cmocka_unit_test(listens_by_address),
		cmocka_unit_test(exists_exactly),
		cmocka_unit_test(time_wait_is_over),
		cmocka_unit_test(owner_is_named_and_escaped),
		cmocka_unit_test(owner_scans_once_a_second),
		cmocka_unit_test(owner_table_is_bounded),
		cmocka_unit_test(p5_descriptors_run_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
