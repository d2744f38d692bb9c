/* SPDX-License-Identifier: Apache-2.0 */
/* S14, P14: read from /proc/self/status and tried, each in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/sandbox.h"

static uint64_t status_of(const char *path, const char *name)
{
	char line[256];
	unsigned long long v = ~0ull;
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			sscanf(line + strlen(name), " %llx", &v);
	if (f)
		fclose(f);
	return v;
}

static uint64_t status(const char *name)
{
	return status_of("/proc/thread-self/status", name);
}

static bool has(unsigned cap)
{
	return status("CapPrm:") >> cap & 1;
}

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "line %d: %s\n", __LINE__, #what);                         \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void in_child(void (*fn)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		fn();
		_exit(0);
	}
	int st = -1;
	waitpid(pid, &st, 0);
	assert_int_equal(st, 0);
}

static void need_root(void)
{
	if (!has(CAP_NET_RAW) || !has(CAP_SETPCAP) || !has(CAP_CHOWN)) {
		print_message("needs root\n");
		skip();
	}
}

static void early(void)
{
	struct rlimit core;
	CHECK(sandbox_early() == 0);
	getrlimit(RLIMIT_CORE, &core);
	CHECK(core.rlim_cur == 0 && core.rlim_max == 0);
	CHECK(prctl(PR_GET_DUMPABLE) == 0);
	CHECK(status("NoNewPrivs:") == 1);
}

static void p14_no_core(void **state)
{
	(void)state;
	in_child(early);
}

static int packet_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	int rc = fd < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return rc;
}

static void drop_all(void)
{
	char err[200];
	CHECK(sandbox_early() == 0);
	CHECK(packet_socket() == 0);
	CHECK(sandbox_drop(false, err, sizeof(err)) == 0);
	CHECK(packet_socket() == -EPERM);
	CHECK(status("CapPrm:") == 0 && status("CapEff:") == 0 && status("CapInh:") == 0);
	CHECK(status("CapAmb:") == 0 && status("CapBnd:") == 0);
	CHECK(status("NoNewPrivs:") == 1);
	CHECK(setgroups(0, NULL) == -1 && errno == EPERM);
}

static void s14_nothing_is_left(void **state)
{
	(void)state;
	need_root();
	in_child(drop_all);
}

static void drop_without_early(void)
{
	char err[200];
	CHECK(sandbox_drop(false, err, sizeof(err)) == 0);
	CHECK(status("NoNewPrivs:") == 1);
}

static void s14_no_new_privs_always(void **state)
{
	(void)state;
	in_child(drop_without_early);
}

static void keep_attach(void)
{
	const uint64_t list = 1ull << CAP_NET_ADMIN | 1ull << CAP_NET_RAW | 1ull << CAP_SYS_PTRACE |
			      1ull << CAP_DAC_READ_SEARCH | 1ull << 38 | 1ull << 39;
	uint64_t had = status("CapPrm:");
	char err[200];
	CHECK(sandbox_drop(true, err, sizeof(err)) == 0);
	CHECK(packet_socket() == 0);
	CHECK(status("CapPrm:") == (had & list));
	CHECK(status("CapEff:") == (had & list));
	CHECK(status("CapInh:") == 0 && status("CapAmb:") == 0);
	CHECK((status("CapBnd:") & ~list) == 0);
	CHECK(setgroups(0, NULL) == -1 && errno == EPERM);
	CHECK(sandbox_drop(false, err, sizeof(err)) == 0);
	CHECK(status("CapPrm:") == 0);
}

static void s14_what_attaching_needs_stays(void **state)
{
	(void)state;
	need_root();
	in_child(keep_attach);
}

static void only(uint64_t caps)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{(uint32_t)caps, (uint32_t)caps, 0},
					      {(uint32_t)(caps >> 32), (uint32_t)(caps >> 32), 0}};
	CHECK(syscall(SYS_capset, &head, d) == 0);
}

/* A node's profile that gives SYS_ADMIN in place of BPF: attaching again needs it. */
static void sys_admin_for_bpf(void)
{
	const uint64_t have = 1ull << CAP_SYS_ADMIN | 1ull << CAP_NET_ADMIN | 1ull << CAP_KILL;
	char err[200];
	only(have);
	CHECK(sandbox_drop(true, err, sizeof(err)) == 0); /* no SETPCAP: the bounding set stays */
	CHECK(status("CapPrm:") == (have & ~(1ull << CAP_KILL)));
}

static void s14_sys_admin_stands_for_bpf(void **state)
{
	(void)state;
	need_root();
	in_child(sys_admin_for_bpf);
}

struct worker {
	pthread_t thread;
	sem_t ready, stop;
	uint64_t caps;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	w->caps = status("CapPrm:") | status("CapEff:");
	sem_post(&w->ready);
	sem_wait(&w->stop);
	return NULL;
}

static void start(void *arg)
{
	struct worker *w = arg;
	sem_init(&w->ready, 0, 0);
	sem_init(&w->stop, 0, 0);
	CHECK(pthread_create(&w->thread, NULL, work, w) == 0);
	sem_wait(&w->ready);
}

static void threads_outside(void)
{
	struct worker w;
	char err[200] = "";
	start(&w);
	CHECK(w.caps != 0);
	CHECK(sandbox_drop(false, err, sizeof(err)) == -EBUSY);
	CHECK(strncmp(err, "1 thread", 8) == 0);
	CHECK(status("CapPrm:") == 0);
	sem_post(&w.stop);
	pthread_join(w.thread, NULL);
	CHECK(sandbox_drop(false, err, sizeof(err)) == 0);
}

static void s14_a_thread_that_keeps_them_is_told(void **state)
{
	(void)state;
	need_root();
	in_child(threads_outside);
}

static void threads_inside(void)
{
	struct worker w;
	uint64_t had = status("CapPrm:");
	char err[200] = "";
	CHECK(sandbox_unprivileged(start, &w) == 0);
	CHECK(w.caps == 0);
	CHECK(status("CapPrm:") == had && packet_socket() == 0);
	CHECK(sandbox_drop(true, err, sizeof(err)) == 0);
	CHECK(sandbox_drop(false, err, sizeof(err)) == 0);
	sem_post(&w.stop);
	pthread_join(w.thread, NULL);
}

static void s14_a_sinks_threads_have_none(void **state)
{
	(void)state;
	need_root();
	in_child(threads_inside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(p14_no_core),
		cmocka_unit_test(s14_nothing_is_left),
		cmocka_unit_test(s14_no_new_privs_always),
		cmocka_unit_test(s14_what_attaching_needs_stays),
		cmocka_unit_test(s14_sys_admin_stands_for_bpf),
		cmocka_unit_test(s14_a_thread_that_keeps_them_is_told),
		cmocka_unit_test(s14_a_sinks_threads_have_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
