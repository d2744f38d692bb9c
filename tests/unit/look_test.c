/* SPDX-License-Identifier: Apache-2.0 */
/* S14: looks into other processes by a process of its own, each case in a process that begins one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/look.h"
#include "capture/sandbox.h"
#include "tests/unit/child.h"

enum { MANY = 3 * LOOK_SLICE + 10 };

static uint32_t inode_of(int fd)
{
	struct stat st;
	CHECK(fstat(fd, &st) == 0);
	return (uint32_t)st.st_ino;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* All sockets of a process, sorted; -errno */
static int all_sockets(pid_t pid, uint32_t *out, size_t *n)
{
	struct look_slice s = {0};
	*n = 0;
	do {
		int rc = look_sockets(pid, s.next, &s);
		if (rc < 0)
			return rc;
		CHECK(*n + s.n <= MANY + 10 && s.looked <= LOOK_SLICE);
		memcpy(out + *n, s.inodes, s.n * sizeof(*out));
		*n += s.n;
	} while (s.next);
	qsort(out, *n, sizeof(*out), compare);
	return 0;
}

/* A process with MANY sockets and a pipe between them: its inodes, sorted */
static pid_t holder(uint32_t *inodes)
{
	int ready[2], hole[2];
	struct rlimit many = {MANY + 100, MANY + 100};
	CHECK(pipe(ready) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
		for (size_t i = 0; i < MANY; i++) {
			if (i == MANY / 2)
				CHECK(pipe(hole) == 0);
			int fd = socket(AF_UNIX, SOCK_STREAM, 0);
			CHECK(fd >= 0);
			inodes[i] = inode_of(fd);
		}
		CHECK(write(ready[1], inodes, MANY * sizeof(*inodes)) == MANY * sizeof(*inodes));
		pause();
	}
	for (size_t n = 0; n < MANY * sizeof(*inodes);) {
		ssize_t got = read(ready[0], (char *)inodes + n, MANY * sizeof(*inodes) - n);
		CHECK(got > 0);
		n += (size_t)got;
	}
	close(ready[0]);
	close(ready[1]);
	qsort(inodes, MANY, sizeof(*inodes), compare);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void the_same_both_ways(void)
{
	static uint32_t want[MANY], alone[MANY + 10], apart[MANY + 10];
	size_t n;
	pid_t pid = holder(want);
	CHECK(all_sockets(pid, alone, &n) == 0);
	CHECK(n == MANY && memcmp(alone, want, sizeof(want)) == 0);
	CHECK(look_begin() == 0 && look_is_apart());
	CHECK(all_sockets(pid, apart, &n) == 0);
	CHECK(n == MANY && memcmp(apart, want, sizeof(want)) == 0);
	CHECK(all_sockets(0x7ffffff0, apart, &n) == -ENOENT);
	look_end();
	CHECK(!look_is_apart());
	CHECK(all_sockets(pid, alone, &n) == 0 && n == MANY);
	stop(pid);
}

static void sockets_in_slices(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip(); /* the limit of descriptors */
	in_child(the_same_both_ways);
}

/* Landlock is upon the asker: it cannot look itself, and the answers are the same. */
static void asker_under_landlock(void)
{
	static struct sandbox_files files;
	static uint32_t want[MANY], got[MANY + 10];
	char err[200], path[64], link[64];
	size_t n;
	pid_t pid = holder(want);
	CHECK(look_begin() == 0);
	sandbox_may_read(&files, "/proc");
	int rc = sandbox_files_only(&files, err, sizeof(err));
	if (rc == -ENOTSUP) {
		printf("# SKIP %s\n", err);
		_exit(CHILD_SKIPS);
	}
	CHECK(rc == 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)pid);
	CHECK(readlink(path, link, sizeof(link)) < 0 && (errno == EACCES || errno == EPERM));
	CHECK(all_sockets(pid, got, &n) == 0);
	CHECK(n == MANY && memcmp(got, want, sizeof(want)) == 0);
	look_end();
	stop(pid);
}

static void s14_landlock_and_looks(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	in_child(asker_under_landlock);
}

/* Directories come as descriptors that can be used; errors as they are. */
static void cgroups_both_ways(void)
{
	struct cgroup_set alone, apart;
	struct cgroup_netns seen[2];
	char err[2][400] = {"", ""}, spec[64];
	struct stat st;
	snprintf(spec, sizeof(spec), "pid:%d", (int)getpid());
	int rc = look_cgroups(&alone, &seen[0], spec, NULL, 0, err[0], sizeof(err[0]));
	CHECK(look_begin() == 0);
	CHECK(look_cgroups(&apart, &seen[1], spec, NULL, 0, err[1], sizeof(err[1])) == rc);
	CHECK(strcmp(err[0], err[1]) == 0 || rc == 0);
	if (rc == 0) {
		CHECK(alone.n == 1 && apart.n == 1 && alone.root == apart.root &&
		      alone.chosen == apart.chosen);
		CHECK(strcmp(alone.d[0].path, apart.d[0].path) == 0);
		CHECK(fstat(apart.d[0].fd, &st) == 0 && st.st_ino == apart.d[0].ino &&
		      alone.d[0].ino == apart.d[0].ino && alone.d[0].dev == apart.d[0].dev);
		CHECK(fcntl(apart.d[0].fd, F_GETFD) == FD_CLOEXEC);
		CHECK(memcmp(&seen[0], &seen[1], sizeof(seen[0])) == 0);
		cgroup_set_close(&alone);
		cgroup_set_close(&apart);
	}
	CHECK(look_cgroups(&apart, &seen[1], "/nowhere", NULL, 0, err[1], sizeof(err[1])) ==
	      -ENOENT);
	CHECK(strstr(err[1], "/nowhere") && apart.n == 0);
	look_end();
}

static void cgroups_with_descriptors(void **state)
{
	(void)state;
	in_child(cgroups_both_ways);
}

/* The one process that this one has begun */
static pid_t looker_pid(void)
{
	char path[64];
	int pid = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	FILE *f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

/* Killed: an error, no signal, and it stays so. Stopped: no answer in time; then only its own one counts. */
static void looker_fails(void)
{
	struct look_slice s;
	struct cgroup_set set;
	struct cgroup_netns seen;
	char err[400];
	CHECK(look_begin() == 0);
	pid_t pid = looker_pid();
	if (!pid)
		_exit(CHILD_SKIPS); /* a kernel without CONFIG_PROC_CHILDREN */
	CHECK(kill(pid, SIGTERM) == 0 && kill(pid, SIGINT) == 0); /* as a whole group gets them */
	CHECK(look_sockets(getpid(), 0, &s) == 0);
	uint32_t n = s.n;
	CHECK(kill(pid, SIGSTOP) == 0);
	CHECK(look_sockets(0x7ffffff0, 0, &s) == -EAGAIN);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(look_sockets(getpid(), 0, &s) == 0 && s.n == n);
	CHECK(kill(pid, SIGKILL) == 0);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 3; i++)
		CHECK(look_sockets(getpid(), 0, &s) == -EPIPE);
	CHECK(look_cgroups(&set, &seen, NULL, NULL, 0, err, sizeof(err)) == -EPIPE);
	CHECK(strstr(err, "looks into others"));
	look_end();
}

static void it_may_die(void **state)
{
	(void)state;
	in_child(looker_fails);
}

/* However the asker ends, the other does too. */
static void ends_with_its_asker(void **state)
{
	(void)state;
	int alive[2];
	char byte;
	assert_int_equal(pipe(alive), 0);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(look_begin() == 0); /* it holds the pipe's end as well */
		CHECK(write(alive[1], "x", 1) == 1);
		pause();
	}
	close(alive[1]);
	assert_int_equal(read(alive[0], &byte, 1), 1);
	stop(pid);
	assert_int_equal(read(alive[0], &byte, 1), 0);
	close(alive[0]);
}

/* What it keeps: nothing but to look. */
static void it_is_confined(void)
{
	char path[64], line[200];
	unsigned long long caps = ~0ull;
	int seccomp = -1;
	CHECK(look_begin() == 0);
	struct look_slice s;
	CHECK(look_sockets(getpid(), 0, &s) == 0); /* it answers: it is confined */
	pid_t pid = looker_pid();
	if (!pid)
		_exit(CHILD_SKIPS);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "CapPrm: %llx", &caps);
		sscanf(line, "Seccomp: %d", &seccomp);
	}
	fclose(f);
	CHECK((caps & ~(1ull << 19 | 1ull << 2)) == 0); /* CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH */
	CHECK(seccomp == 2);
	look_end();
}

static void s14_what_looks_does_nothing_else(void **state)
{
	(void)state;
	in_child(it_is_confined);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_in_slices),
		cmocka_unit_test(s14_landlock_and_looks),
		cmocka_unit_test(cgroups_with_descriptors),
		cmocka_unit_test(it_may_die),
		cmocka_unit_test(ends_with_its_asker),
		cmocka_unit_test(s14_what_looks_does_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
