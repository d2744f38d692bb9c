/* SPDX-License-Identifier: Apache-2.0 */
/* Finding cgroups: the texts of /proc, and live ones made here (V6, I10; a sidecar as in a pod). */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "capture/cgroup.h"
#include "capture/cgroup_owner.h"
#include "netrig.h"

/* ---- texts ---- */

static void finds_mounts(void **state)
{
	const char *text =
		"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
		"36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n"
		"50 31 0:38 /../a\\040b /mnt/x\\011y rw - cgroup2 none rw\n"
		"51 31 0:39 / /cgroup2 rw - ext4 cgroup2 rw\n"
		"garbage - cgroup2 \n"
		"52 31 0:38 /pod /last rw - cgroup2 none rw";
	struct cgroup_mount m;

	(void)state;
	assert_true(cgroup_mount_next(&text, &m));
	assert_string_equal(m.root, "/");
	assert_string_equal(m.dir, "/sys/fs/cgroup/unified");
	assert_true(cgroup_mount_next(&text, &m));
	assert_string_equal(m.root, "/../a b");
	assert_string_equal(m.dir, "/mnt/x\ty");
	assert_true(cgroup_mount_next(&text, &m));
	assert_string_equal(m.root, "/pod");
	assert_string_equal(m.dir, "/last");
	assert_false(cgroup_mount_next(&text, &m));
}

static void finds_the_path(void **state)
{
	char out[64];

	(void)state;
	assert_true(
		cgroup_path("9:name=systemd:/a\n4:memory:/m\n0::/kubepods/x\n", out, sizeof(out)));
	assert_string_equal(out, "/kubepods/x");
	assert_true(cgroup_path("0::/", out, sizeof(out)));
	assert_string_equal(out, "/");
	assert_false(cgroup_path("9:name=systemd:/a\n10::/x\n", out, sizeof(out)));
	assert_false(cgroup_path("", out, sizeof(out)));
	assert_false(cgroup_path("0::/longer", out, 5));
}

static void expect_under(const char *root, const char *path, const char *want)
{
	static struct cgroup_mount m;
	char out[64];

	snprintf(m.root, sizeof(m.root), "%s", root);
	snprintf(m.dir, sizeof(m.dir), "/m");
	int err = cgroup_under(&m, path, out, sizeof(out));
	assert_int_equal(err, want ? 0 : -ENOENT);
	if (want)
		assert_string_equal(out, want);
}

static void maps_paths_into_mounts(void **state)
{
	(void)state;
	expect_under("/", "/", "/m");
	expect_under("/", "/a/b", "/m/a/b");
	expect_under("/", "/..a", "/m/..a");
	expect_under("/", "/../id", NULL);
	expect_under("/", "/..", NULL);
	expect_under("/a", "/a", "/m");
	expect_under("/a", "/a/b", "/m/b");
	expect_under("/a", "/ab", NULL);
	expect_under("/a", "/", NULL);
	expect_under("/../id", "/../id", "/m");
	expect_under("/../id", "/../other", NULL);
}

static void reads_socket_tables(void **state)
{
	const char *text =
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x 100\n"
		"   1: 0100007F:A001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1 x\n"
		"   2: 0100007F:A002 0100007F:1F90 06 00000000:00000000 03:00000000 00000000     0        0 0 3 x\n"
		"   3: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A "
		"00000000:00000000 00:00000000 00000000     0        0 333 1 x";
	const uint16_t port = 8080, other = 80;
	uint64_t out[8];

	(void)state;
	assert_int_equal(cgroup_owner_inodes(text, &port, 1, out, 8), 2);
	assert_int_equal(out[0], 111);
	assert_int_equal(out[1], 222);
	assert_int_equal(cgroup_owner_inodes(text, &other, 1, out, 8), 1);
	assert_int_equal(out[0], 333);
	assert_int_equal(cgroup_owner_inodes(text, NULL, 0, out, 8), 3);
	assert_int_equal(cgroup_owner_inodes(text, NULL, 0, out, 2), 2);
}

/* ---- live ---- */

enum { PARENT, SERVICE, PROXY, CAR };
static char group[4][300];

static int make_groups(void **state)
{
	(void)state;
	return netrig_cgroup(NULL, "cgpod", group[PARENT], 300) ||
	       netrig_cgroup(group[PARENT], "service", group[SERVICE], 300) ||
	       netrig_cgroup(group[PARENT], "proxy", group[PROXY], 300) ||
	       netrig_cgroup(NULL, "cgcar", group[CAR], 300);
}

static int remove_groups(void **state)
{
	(void)state;
	netrig_cgroup_remove(group[CAR]);
	netrig_cgroup_remove(group[PROXY]);
	netrig_cgroup_remove(group[SERVICE]);
	netrig_cgroup_remove(group[PARENT]);
	return 0;
}

static uint64_t ino_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void keeps_the_widest(void **state)
{
	struct cgroup_set s;
	char spec[1000], err[300];

	(void)state;
	snprintf(spec, sizeof(spec), "%s,%s,%s", group[SERVICE], group[PROXY], group[SERVICE]);
	assert_int_equal(cgroup_set_open(&s, spec, NULL, 0, err, sizeof(err)), 0);
	assert_int_equal(s.n, 2);
	assert_false(s.root || s.chosen);
	cgroup_set_close(&s);
	for (int first = 0; first < 2; first++) {
		snprintf(spec, sizeof(spec), "%s,%s,%s", group[first ? PARENT : SERVICE],
			 group[first ? PROXY : PARENT], group[CAR]);
		assert_int_equal(cgroup_set_open(&s, spec, NULL, 0, err, sizeof(err)), 0);
		assert_int_equal(s.n, 2);
		assert_int_equal(s.d[0].ino, ino_of(group[PARENT]));
		assert_int_equal(s.d[1].ino, ino_of(group[CAR]));
		cgroup_set_close(&s);
	}
	assert_int_equal(cgroup_set_open(&s, ",", NULL, 0, err, sizeof(err)), -EINVAL);
	assert_int_equal(cgroup_set_open(&s, "pid:0", NULL, 0, err, sizeof(err)), -EINVAL);
	assert_int_equal(cgroup_set_open(&s, "pid:12x", NULL, 0, err, sizeof(err)), -EINVAL);
}

static void i10_notices_removal(void **state)
{
	struct cgroup_set s;
	char path[300], err[300];

	(void)state;
	assert_int_equal(netrig_cgroup(group[PARENT], "short", path, sizeof(path)), 0);
	assert_int_equal(cgroup_set_open(&s, path, NULL, 0, err, sizeof(err)), 0);
	assert_int_equal(cgroup_set_check(&s), 0);
	netrig_cgroup_remove(path);
	assert_int_equal(netrig_cgroup(group[PARENT], "short", path, sizeof(path)), 0);
	assert_int_equal(cgroup_set_check(&s), -ENOENT);
	cgroup_set_close(&s);
	netrig_cgroup_remove(path);
}

static int enter(const char *path)
{
	char file[400];

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	FILE *f = fopen(file, "we");
	int ok = f && fputs("0", f) >= 0;
	return f && fclose(f) == 0 && ok ? 0 : -1;
}

/* A child in a group; with a view of its own, as a container has: its group is the root of its only
 * cgroup2 mount. It runs `act` and exits with its answer. */
static pid_t in_group(const char *path, bool contained, int (*act)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(path) != 0)
		_exit(90);
	if (contained) {
		if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) != 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
			_exit(91);
		while (umount2("/sys/fs/cgroup", MNT_DETACH) == 0)
			;
		if (mount("none", "/sys/fs/cgroup", "cgroup2", MS_RDONLY, NULL) != 0)
			_exit(92);
	}
	_exit(act(arg));
}

static int answer(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int wait_for_end(void *ready)
{
	if (write(*(int *)ready, "r", 1) != 1)
		return 1;
	pause();
	return 0;
}

static pid_t stay(const char *path, bool contained)
{
	int ready[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = in_group(path, contained, wait_for_end, &ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

struct sight {
	pid_t pid;
	const char *spec;
	uint64_t want[2];
	const char *path_begins;
};

/* 0: the set of `spec` (or of pid) is exactly `want`. */
static int sees(void *arg)
{
	static const uint16_t port = 18080;
	const struct sight *v = arg;
	struct cgroup_set s;
	char err[300], spec[64];
	size_t n = v->want[0] ? v->want[1] ? 2 : 1 : 0;

	snprintf(spec, sizeof(spec), "pid:%d", (int)v->pid);
	int e = cgroup_set_open(&s, v->pid ? spec : v->spec, &port, 1, err, sizeof(err));
	if (n == 0)
		return e == -ENOENT && strstr(err, "chosen port") ? 0 : 10;
	if (e || s.n != n) {
		fprintf(stderr, "%d, %zu directories: %s\n", e, s.n, err);
		return 11;
	}
	bool found[2] = {false, n < 2};
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			found[j] |= s.d[i].ino == v->want[j];
	if (v->path_begins && strncmp(s.d[0].path, v->path_begins, strlen(v->path_begins)) != 0) {
		fprintf(stderr, "path %s\n", s.d[0].path);
		return 12;
	}
	cgroup_set_close(&s);
	return found[0] && found[1] ? 0 : 13;
}

static void finds_a_process(void **state)
{
	(void)state;
	for (int contained = 0; contained < 2; contained++) {
		pid_t pid = stay(group[SERVICE], contained);
		char root[64];
		snprintf(root, sizeof(root), "/proc/%d/root/sys/fs/cgroup", (int)pid);
		/* From the host: by its own mount, whatever the process sees. */
		struct sight host = {.pid = pid,
				     .want = {ino_of(group[SERVICE])},
				     .path_begins = group[SERVICE]};
		assert_int_equal(sees(&host), 0);
		/* From another container: only through that process's root. */
		struct sight beside = {
			.pid = pid, .want = {ino_of(group[SERVICE])}, .path_begins = root};
		if (contained)
			assert_int_equal(answer(in_group(group[CAR], true, sees, &beside)), 0);
		end(pid);
	}
}

static void auto_finds_the_service(void **state)
{
	struct netrig_talk t = {.calls = 1,
				.request = 1,
				.reply = 1,
				.port = 18080,
				.gate = true,
				.server_cgroup = group[SERVICE],
				.client_cgroup = group[PROXY]};
	struct sight none = {0}, both = {.want = {ino_of(group[SERVICE]), ino_of(group[PROXY])}},
		     own = {.want = {ino_of(group[PARENT])}},
		     named = {.spec = "auto", .want = {ino_of(group[PARENT])}};
	struct netrig_run r;
	bool ok = true;

	(void)state;
	assert_int_equal(answer(in_group(group[CAR], false, sees, &none)), 0);
	assert_int_equal(netrig_start(&r, &t), 0);
	assert_int_equal(answer(in_group(group[CAR], false, sees, &both)), 0);
	assert_int_equal(answer(in_group(group[PARENT], false, sees, &own)), 0);
	assert_int_equal(answer(in_group(group[PARENT], false, sees, &named)), 0);
	netrig_go(&r);
	while (!netrig_done(&r, &ok))
		usleep(1000);
	netrig_stop(&r);
	assert_true(ok);
}

/* Ourselves are no service, though we may listen too. */
static void self_is_no_owner(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(18081)};
	const uint16_t port = 18081;
	pid_t pids[4];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(cgroup_owner_find(&port, 1, pids, 4), 0);
	pid_t other = stay(group[CAR], false); /* inherits the socket */
	assert_int_equal(cgroup_owner_find(&port, 1, pids, 4), 1);
	assert_int_equal(pids[0], other);
	end(other);
	close(fd);
}

static void auto_in_the_root_is_the_root(void **state)
{
	struct cgroup_set s;
	char err[300];
	uint16_t nobody = 1;

	(void)state;
	if (cgroup_set_open(&s, NULL, &nobody, 1, err, sizeof(err)) != 0)
		skip(); /* this test does not run in the root cgroup */
	assert_true(s.chosen);
	assert_true(s.root && s.n == 1);
	cgroup_set_close(&s);
}

static int other_netns(void *ready)
{
	return netrig_netns() == 0 ? wait_for_end(ready) : 1;
}

static void tells_namespaces(void **state)
{
	struct cgroup_set s;
	struct cgroup_netns n;
	char err[300], c;
	int ready[2];

	(void)state;
	assert_int_equal(cgroup_set_open(&s, group[PARENT], NULL, 0, err, sizeof(err)), 0);
	n = cgroup_set_netns(&s);
	assert_false(n.own || n.several || n.foreign);
	pid_t here = stay(group[SERVICE], false);
	n = cgroup_set_netns(&s);
	assert_true(n.own && !n.several && !n.foreign);
	assert_int_equal(pipe(ready), 0);
	pid_t there = in_group(group[PROXY], false, other_netns, &ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	n = cgroup_set_netns(&s);
	assert_true(n.own && n.several && n.foreign);
	end(here);
	n = cgroup_set_netns(&s);
	assert_true(!n.own && !n.several && n.foreign);
	end(there);
	close(ready[0]);
	close(ready[1]);
	cgroup_set_close(&s);
}

int main(void)
{
	const struct CMUnitTest texts[] = {
		cmocka_unit_test(finds_mounts),
		cmocka_unit_test(finds_the_path),
		cmocka_unit_test(maps_paths_into_mounts),
		cmocka_unit_test(reads_socket_tables),
	};
	const struct CMUnitTest live[] = {
		cmocka_unit_test(keeps_the_widest), cmocka_unit_test(i10_notices_removal),
		cmocka_unit_test(finds_a_process),  cmocka_unit_test(auto_finds_the_service),
		cmocka_unit_test(self_is_no_owner), cmocka_unit_test(auto_in_the_root_is_the_root),
		cmocka_unit_test(tells_namespaces),
	};

	int failed = cmocka_run_group_tests_name("cgroup texts", texts, NULL, NULL);
	if (geteuid() != 0 || netrig_netns() != 0) {
		printf("SKIP: live cgroups need root\n");
		return failed;
	}
	return failed +
	       cmocka_run_group_tests_name("cgroup live", live, make_groups, remove_groups);
}
