/* SPDX-License-Identifier: Apache-2.0 */
/* Coming, going and being refused: other BPF users, death, removed cgroups, other namespaces,
 * missing privileges. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>
#include <linux/capability.h>

#include "witness.h"

/* ---- beside others; coming and going ---- */

static void i12_beside_another(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 50,
				.request = 100,
				.reply = 2000,
				.port = port,
				.server_cgroup = witness_group[SERVICE],
				.client_cgroup = witness_group[PROXY],
				.client_port = witness_client++};
	struct ledger_stage st[WITNESS_STAGES];
	struct netrig_run r;
	struct witness s[3];
	struct attach *a[3];
	const char *specs[] = {witness_group[SERVICE], witness_group[SERVICE], NULL};

	(void)state;
	uint64_t before = netrig_retransmits();
	for (int i = 0; i < 3; i++) {
		witness_init(&s[i], &t);
		struct attach_cfg cfg = witness_config(&s[i], specs[i], &port, 1);
		a[i] = witness_open(&attach_cgroup, &cfg);
	}
	assert_int_equal(netrig_start(&r, &t), 0);
	witness_talk(&attach_cgroup, a[0], &r);
	for (int i = 0; i < 3; i++) {
		witness_settle(&attach_cgroup, a[i], st);
		witness_every_byte_once(&s[i], before);
		attach_cgroup.close(a[i]);
		witness_fini(&s[i]);
	}
}

/* Attached and detached all the time: the service does not notice, no ledger has a residue. */
static void attach_storm(void **state)
{
	struct netrig_talk t = {.calls = 60000,
				.request = 100,
				.reply = 3000,
				.port = 8080,
				.client_port = witness_client++};
	struct ledger_stage st[WITNESS_STAGES];
	struct netrig_run r;
	struct witness s;
	bool ok = true;
	unsigned cycles = 0, caught = 0;

	(void)state;
	witness_init(&s, &t);
	assert_int_equal(netrig_start(&r, &t), 0);
	for (; cycles < 20 || (!netrig_done(&r, &ok) && cycles < 200); cycles++) {
		const struct attach_ops *ops = cycles % 2 ? &attach_cgroup : &attach_socket;
		struct attach_cfg cfg = witness_config(&s, NULL, NULL, 0);
		s.based[0] = s.based[1] = false;
		s.want[0] = s.want[1] = 0; /* bytes of a late join are not compared */
		struct attach *a = witness_open(ops, &cfg);
		witness_pump(ops, a, 1);
		witness_settle(ops, a, st);
		caught += st[2].in > 0;
		ops->close(a);
	}
	while (!netrig_done(&r, &ok))
		usleep(1000);
	netrig_stop(&r);
	assert_true(ok);
	assert_true(caught > 0);
	witness_fini(&s);
}

/* Ids of the programs, or links, that a process holds, as its fdinfo says. */
static size_t held(pid_t pid, const char *key, uint32_t *ids, size_t max)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++) {
		char path[64], line[200];
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
		FILE *f = fopen(path, "re");
		while (f && n < max && fgets(line, sizeof(line), f))
			if (strncmp(line, key, strlen(key)) == 0)
				ids[n++] = (uint32_t)strtoul(line + strlen(key), NULL, 10);
		if (f)
			fclose(f);
	}
	return n;
}

static bool exists(int (*by_id)(uint32_t), uint32_t id)
{
	int fd = by_id(id);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void holder(const struct attach_ops *ops, int ready)
{
	char err[300];
	struct attach_cfg cfg =
		witness_config(NULL, ops == &attach_cgroup ? witness_group[PARENT] : NULL, NULL, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!ops->open(&cfg, err, sizeof(err)) || write(ready, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void f4_death_detaches(void **state)
{
	const struct attach_ops *both[] = {&attach_cgroup, &attach_socket};

	(void)state;
	for (int i = 0; i < 10; i++) {
		uint32_t progs[32], links[32];
		int ready[2];
		char c;
		assert_int_equal(pipe(ready), 0);
		pid_t pid = fork();
		if (pid == 0)
			holder(both[i % 2], ready[1]);
		close(ready[1]);
		assert_int_equal(read(ready[0], &c, 1), 1);
		close(ready[0]);
		size_t n = held(pid, "prog_id:", progs, 32), m = held(pid, "link_id:", links, 32);
		assert_true(n > 0 && (i % 2 || m == 2));
		for (size_t k = 0; k < n; k++)
			assert_true(exists(bpf_prog_get_fd_by_id, progs[k]));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		uint64_t limit = now_ms() + 5000;
		for (size_t k = 0; k < n + m;) {
			bool there = k < n ? exists(bpf_prog_get_fd_by_id, progs[k])
					   : exists(bpf_link_get_fd_by_id, links[k - n]);
			if (!there)
				k++;
			else if (now_ms() > limit)
				fail_msg("program or link %zu outlives its process", k);
			else
				usleep(1000);
		}
	}
}

static void i10_a_removed_cgroup_is_gone(void **state)
{
	char path[300];
	struct witness s = {0};

	(void)state;
	assert_int_equal(netrig_cgroup(NULL, "gone", path, sizeof(path)), 0);
	struct attach_cfg cfg = witness_config(&s, path, NULL, 0);
	struct attach *a = witness_open(&attach_cgroup, &cfg);
	assert_int_equal(attach_cgroup.check(a), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(attach_cgroup.check(a), -ENOENT);
	assert_int_equal(netrig_cgroup(NULL, "gone", path, sizeof(path)),
			 0); /* a new one of the same name */
	assert_int_equal(attach_cgroup.check(a), -ENOENT);
	attach_cgroup.close(a);
	a = witness_open(&attach_cgroup, &cfg);
	assert_int_equal(attach_cgroup.check(a), 0);
	attach_cgroup.close(a);
	netrig_cgroup_remove(path);
}

/* ---- another network namespace ---- */

static void other_namespaces(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 20,
				.request = 100,
				.reply = 100,
				.port = port,
				.new_netns = true,
				.server_cgroup = witness_group[SERVICE],
				.client_cgroup = witness_group[PROXY]};
	struct ledger_stage st[WITNESS_STAGES];
	struct witness s;

	(void)state;
	if (!witness_kernel(6, 16))
		skip(); /* no cookie in cgroup programs */
	witness_capture(&attach_cgroup, witness_config(NULL, NULL, &port, 1), &t, &s,
			st); /* our choice: only ours */
	assert_int_equal(s.events, 0);
	assert_true(witness_exit(&st[0], "other_netns") >= 40);
	witness_fini(&s);
	witness_capture(&attach_cgroup, witness_config(NULL, witness_group[PARENT], &port, 1), &t,
			&s, st); /* by name: all, told apart */
	assert_int_equal(s.wrong, 0);
	assert_int_equal(s.distinct[0] + s.distinct[1], 4000);
	assert_true(s.scope != 0);
	witness_fini(&s);
	t.new_netns = false;
	witness_capture(&attach_cgroup, witness_config(NULL, witness_group[PARENT], &port, 1), &t,
			&s, st);
	assert_int_equal(s.distinct[0] + s.distinct[1], 4000);
	assert_true(s.scope == 0);
	witness_fini(&s);
}

/* ---- why not ---- */

static int set_caps(uint64_t caps)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{(uint32_t)caps, (uint32_t)caps, 0},
					      {(uint32_t)(caps >> 32), (uint32_t)(caps >> 32), 0}};

	return (int)syscall(SYS_capset, &h, d);
}

enum { BPF = 39, PERFMON = 38 };
#define CAP(n) (1ull << (n))

/* With exactly these capabilities: the answer of probe(), and whether its line holds `hint`. */
static void with_caps(const struct attach_ops *ops, const char *spec, uint64_t caps, int want,
		      const char *hint)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char why[400] = "";
		struct attach_cfg cfg = witness_config(NULL, spec, NULL, 0);
		if (set_caps(caps) != 0)
			_exit(9);
		int got = ops->probe(&cfg, why, sizeof(why));
		if (got != want || !strstr(why, hint) || strchr(why, '\n')) {
			fprintf(stderr, "%s, %#llx: %d \"%s\"\n", ops->name,
				(unsigned long long)caps, got, why);
			_exit(1);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void v1_v2_v3_capabilities(void **state)
{
	const char *dir = witness_group[PARENT];

	(void)state;
	with_caps(&attach_cgroup, dir, 0, -EPERM, "add CAP_BPF and CAP_NET_ADMIN");
	with_caps(&attach_cgroup, dir, CAP(CAP_NET_ADMIN), -EPERM, "add CAP_BPF");
	with_caps(&attach_cgroup, dir, CAP(BPF), -EPERM, "add CAP_NET_ADMIN");
	with_caps(&attach_cgroup, dir, CAP(BPF) | CAP(CAP_NET_ADMIN), 0, "");
	with_caps(&attach_cgroup, dir, CAP(BPF) | CAP(CAP_NET_ADMIN) | CAP(PERFMON), 0, "");
	with_caps(&attach_socket, NULL, 0, -EPERM, "add CAP_BPF and CAP_NET_RAW");
	with_caps(&attach_socket, NULL, CAP(CAP_NET_RAW), -EPERM, "add CAP_BPF");
	with_caps(&attach_socket, NULL, CAP(BPF), -EPERM, "add CAP_NET_RAW");
	with_caps(&attach_socket, NULL, CAP(BPF) | CAP(CAP_NET_RAW), 0, "");
}

static void refused(const struct attach_ops *ops, const char *spec, int want, const char *hint)
{
	char why[400] = "";
	struct attach_cfg cfg = witness_config(NULL, spec, NULL, 0);

	assert_int_equal(ops->probe(&cfg, why, sizeof(why)), want);
	if (!strstr(why, hint) || strchr(why, '\n'))
		fail_msg("\"%s\" does not say \"%s\"", why, hint);
}

static void v6_wrong_places(void **state)
{
	char missing[400];

	(void)state;
	snprintf(missing, sizeof(missing), "%s/missing", witness_group[PARENT]);
	refused(&attach_cgroup, missing, -ENOENT, "missing");
	refused(&attach_cgroup, "/proc", -ENOTSUP, "not a directory of cgroup v2");
	refused(&attach_cgroup, "pid:999999999", -ENOENT, "no such process");
	refused(&attach_cgroup, "pid:x", -ENOTSUP, "pid:7");
	refused(&attach_socket, "nowhere0", -ENOENT, "no such interface");
	if (access("/sys/fs/cgroup/memory/cgroup.procs", F_OK) == 0)
		refused(&attach_cgroup, "/sys/fs/cgroup/memory", -ENOTSUP, "of v1");
}

static void describes_itself(void **state)
{
	struct witness s = {0};
	struct attach_cfg cfg = witness_config(&s, witness_group[PARENT], NULL, 0);

	(void)state;
	struct attach *a = witness_open(&attach_cgroup, &cfg);
	assert_non_null(strstr(attach_cgroup.describe(a), witness_group[PARENT]));
	assert_non_null(strstr(attach_cgroup.describe(a), "(direct)"));
	attach_cgroup.close(a);
	cfg.spec = NULL;
	a = witness_open(&attach_socket, &cfg);
	assert_string_equal(attach_socket.describe(a), "socket lo");
	attach_socket.close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i12_beside_another),
		cmocka_unit_test(attach_storm),
		cmocka_unit_test(f4_death_detaches),
		cmocka_unit_test(i10_a_removed_cgroup_is_gone),
		cmocka_unit_test(other_namespaces),
		cmocka_unit_test(v1_v2_v3_capabilities),
		cmocka_unit_test(v6_wrong_places),
		cmocka_unit_test(describes_itself),
	};

	if (geteuid() != 0 || netrig_netns() != 0) {
		printf("SKIP: needs root, for BPF and a network namespace\n");
		return 0;
	}
	return cmocka_run_group_tests_name("attach_place", tests, witness_make_groups,
					   witness_remove_groups);
}
