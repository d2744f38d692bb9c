/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Debian 11's headers end before them */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF     39
#endif
#define BIT(cap) (1ull << (cap))

struct caps {
	uint64_t effective, permitted, inheritable;
};

/* core(5): no kind of mapping. What MADV_DONTDUMP would do, for all memory at once; a debugger's gcore obeys it
 * as well. Once the process is not dumpable, the file is no longer its own. */
static void dump_nothing(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* no /proc: what follows is what keeps the kernel from it */
	(void)!write(fd, "0", 1);
	close(fd);
}

int sandbox_early(void)
{
	struct rlimit none = {0, 0};
	dump_nothing();
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static int get(struct caps *c)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {0};
	if (syscall(SYS_capget, &head, d) < 0)
		return -errno;
	c->effective = (uint64_t)d[1].effective << 32 | d[0].effective;
	c->permitted = (uint64_t)d[1].permitted << 32 | d[0].permitted;
	c->inheritable = (uint64_t)d[1].inheritable << 32 | d[0].inheritable;
	return 0;
}

static int set(uint64_t keep)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {
		{.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
		{.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)},
	};
	return syscall(SYS_capset, &head, d) < 0 ? -errno : 0;
}

/* Ends at the kernel's last capability (EINVAL), or where CAP_SETPCAP is missing (EPERM). */
static void drop_bounding(uint64_t keep)
{
	for (unsigned cap = 0; cap < 64; cap++)
		if (!(keep & BIT(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return;
}

/* The line "name:\tHEX" of a thread's status */
static uint64_t status_hex(const char *text, const char *name)
{
	unsigned long long v = 0;
	const char *at = strstr(text, name);
	return at && sscanf(at + strlen(name), " %llx", &v) == 1 ? v : ~0ull;
}

static int thread_holds(const char *tid, uint64_t *held)
{
	char path[64], text[4096];
	snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return errno == ENOENT || errno == ESRCH ? -ENOENT : -errno;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	*held = status_hex(text, "CapPrm:") | status_hex(text, "CapEff:") |
		status_hex(text, "CapInh:") | status_hex(text, "CapAmb:");
	return 0;
}

/* How many threads hold more than `keep`; -errno */
static int threads_above(uint64_t keep)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0, rc = 0;

	if (!d)
		return -errno;
	while (rc >= 0 && (e = readdir(d))) {
		uint64_t held = 0;
		if (e->d_name[0] == '.')
			continue;
		rc = thread_holds(e->d_name, &held);
		if (rc == 0 && held & ~keep)
			n++;
		if (rc == -ENOENT)
			rc = 0; /* it ended meanwhile */
	}
	closedir(d);
	return rc < 0 ? rc : n;
}

struct errand {
	void (*fn)(void *ctx);
	void *ctx;
	int rc;
};

/* Per thread: the caller's own capabilities are untouched. */
static void *run_errand(void *arg)
{
	struct errand *e = arg;
	e->rc = set(0);
	if (e->rc == 0)
		e->fn(e->ctx);
	return NULL;
}

int sandbox_unprivileged(void (*fn)(void *ctx), void *ctx)
{
	struct errand e = {fn, ctx, 0};
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, run_errand, &e);
	if (rc != 0)
		return -rc;
	pthread_join(thread, NULL);
	return e.rc;
}

static uint64_t wanted(const struct caps *have, unsigned keep)
{
	uint64_t list = 0;
	if (keep & SANDBOX_ATTACH)
		list |= BIT(CAP_BPF) | BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_PERFMON);
	if (keep & SANDBOX_ATTACH && !(have->permitted & BIT(CAP_BPF)))
		list |= BIT(CAP_SYS_ADMIN);
	if (keep & SANDBOX_LOOK)
		list |= BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH);
	return have->permitted & list;
}

static int failed(int rc, const char *what, char *err, size_t err_n)
{
	snprintf(err, err_n, "cannot drop privileges: %s: %s", what, strerror(-rc));
	return rc;
}

int sandbox_drop(unsigned what, char *err, size_t err_n)
{
	struct caps have = {0};
	int rc = get(&have);
	if (rc < 0)
		return failed(rc, "capget", err, err_n);
	uint64_t keep = wanted(&have, what);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed(-errno, "no_new_privs", err, err_n);
	drop_bounding(keep);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	rc = set(keep);
	if (rc < 0)
		return failed(rc, "capset", err, err_n);
	rc = threads_above(keep);
	if (rc < 0)
		return failed(rc, "reading back /proc/self/task", err, err_n);
	if (rc > 0) {
		snprintf(err, err_n, "%d thread%s started earlier and keep%s capabilities", rc,
			 rc == 1 ? " was" : "s were", rc == 1 ? "s its" : " their");
		return -EBUSY;
	}
	return 0;
}
