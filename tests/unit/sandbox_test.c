/* SPDX-License-Identifier: Apache-2.0 */
/* S14, P14: read from /proc/self/status and tried, each in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <net/if.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/sandbox.h"
#include "tests/unit/child.h"

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
	CHECK(sandbox_drop(0, err, sizeof(err)) == 0);
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
	CHECK(sandbox_drop(0, err, sizeof(err)) == 0);
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
	CHECK(sandbox_drop(SANDBOX_ATTACH | SANDBOX_LOOK, err, sizeof(err)) == 0);
	CHECK(packet_socket() == 0);
	CHECK(status("CapPrm:") == (had & list));
	CHECK(status("CapEff:") == (had & list));
	CHECK(status("CapInh:") == 0 && status("CapAmb:") == 0);
	CHECK((status("CapBnd:") & ~list) == 0);
	CHECK(setgroups(0, NULL) == -1 && errno == EPERM);
	CHECK(sandbox_drop(0, err, sizeof(err)) == 0);
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
	CHECK(sandbox_drop(SANDBOX_ATTACH | SANDBOX_LOOK, err, sizeof(err)) ==
	      0); /* no SETPCAP: the bounding set stays */
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
	CHECK(sandbox_drop(0, err, sizeof(err)) == -EBUSY);
	CHECK(strncmp(err, "1 thread", 8) == 0);
	CHECK(status("CapPrm:") == 0);
	sem_post(&w.stop);
	pthread_join(w.thread, NULL);
	CHECK(sandbox_drop(0, err, sizeof(err)) == 0);
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
	CHECK(sandbox_drop(SANDBOX_ATTACH | SANDBOX_LOOK, err, sizeof(err)) == 0);
	CHECK(sandbox_drop(0, err, sizeof(err)) == 0);
	sem_post(&w.stop);
	pthread_join(w.thread, NULL);
}

static void s14_a_sinks_threads_have_none(void **state)
{
	(void)state;
	need_root();
	in_child(threads_inside);
}

/* ---- files ---- */

static char work_dir[64];

static int opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return rc;
}

static const char *in_work(const char *name)
{
	static char out[2][128];
	static unsigned at;
	char *p = out[at++ % 2];
	snprintf(p, sizeof(out[0]), "%s/%s", work_dir, name);
	return p;
}

static int no_landlock(void)
{
	return syscall(444 /* landlock_create_ruleset */, NULL, 0, 1) < 1;
}

static void files(void)
{
	static struct sandbox_files f;
	char err[200] = "";
	int kept = open("/etc/passwd", O_RDONLY);
	sandbox_may_resolve(&f);
	sandbox_may_write(&f, work_dir);
	sandbox_may_read(&f, "/nowhere/at/all");
	CHECK(opens("/etc/group", O_RDONLY) == 0);
	CHECK(sandbox_files_only(&f, err, sizeof(err)) == 0);
	CHECK(opens("/etc/shadow", O_RDONLY) == -EACCES);
	CHECK(opens("/etc/group", O_RDONLY) == -EACCES);
	CHECK(opens("/root", O_RDONLY | O_DIRECTORY) == -EACCES);
	CHECK(opens("/tmp/sidetap-outside", O_WRONLY | O_CREAT) == -EACCES);
	CHECK(opens("/etc/hosts", O_RDWR) == -EACCES);
	CHECK(opens("/etc/hosts", O_RDONLY) == 0); /* names go on being resolved */
	struct addrinfo *found = NULL;
	CHECK(getaddrinfo("localhost", "80", NULL, &found) == 0 && found);
	freeaddrinfo(found);
	CHECK(opens("/etc/ssl/private", O_RDONLY | O_DIRECTORY) != 0);
	CHECK(opens(in_work("a"), O_RDWR | O_CREAT | O_TRUNC) == 0);
	CHECK(rename(in_work("a"), in_work("b")) == 0 && unlink(in_work("b")) == 0);
	char byte;
	CHECK(read(kept, &byte, 1) == 1); /* what was open stays so */
}

static void s14_files(void **state)
{
	(void)state;
	need_root();
	if (no_landlock())
		skip();
	strcpy(work_dir, "/tmp/sandbox-XXXXXX");
	assert_non_null(mkdtemp(work_dir));
	in_child(files);
	assert_int_equal(rmdir(work_dir), 0);
}

static void properties(void **state)
{
	(void)state;
	struct sandbox_files *f = calloc(1, sizeof(*f));
	sandbox_may_read_properties(
		f, "kafka://h:9092/t?a=b&ssl.ca.location=%2Fetc%2Fca.pem&x=/k/v/key");
	assert_int_equal(f->n_read, 3);
	assert_string_equal(f->read[0], "/etc/ca.pem"); /* of /etc the file alone */
	assert_string_equal(f->read[1], "/k/v/key");
	assert_string_equal(f->read[2], "/k/v");
	sandbox_may_read_properties(f, "kafka://h:9092/t?sasl.password=file:/s/word&x=file:rel");
	assert_int_equal(f->n_read, 6);
	assert_string_equal(f->read[3], "/s/word");
	assert_string_equal(f->read[4], "/s");
	assert_string_equal(f->read[5], "rel");
	for (int i = 0; i < 100; i++)
		sandbox_may_read(f, "/x");
	assert_int_equal(f->n_read, SANDBOX_PATHS);
	assert_true(f->cut);
	free(f);
}

/* ---- system calls ---- */

static int fails_with(long rc)
{
	return rc < 0 ? errno : 0;
}

static void *thread_tries(void *ctx)
{
	sem_t *ready = ctx;
	sem_wait(ready);
	return (void *)(intptr_t)fails_with(ptrace(PTRACE_TRACEME, 0, 0, 0));
}

static void calls(void)
{
	char *const argv[] = {"true", NULL};
	char err[200] = "", attr[128] = {0};
	sem_t ready;
	pthread_t earlier;
	void *result;
	sem_init(&ready, 0, 0);
	CHECK(pthread_create(&earlier, NULL, thread_tries, &ready) == 0);
	CHECK(sandbox_calls_only(false, err, sizeof(err)) == 0);
	CHECK(status("Seccomp:") == 2);
	CHECK(fails_with(socket(AF_PACKET, SOCK_RAW, 0)) == EPERM);
	CHECK(if_nametoindex("lo") == 1); /* is what it was attached to still there? */
	CHECK(fails_with(socket(AF_INET, SOCK_STREAM, 0)) == 0);
	CHECK(fails_with(execv("/bin/true", argv)) == EPERM);
	CHECK(fails_with(ptrace(PTRACE_TRACEME, 0, 0, 0)) == EPERM);
	CHECK(fails_with(mount("none", "/mnt", "tmpfs", 0, NULL)) == EPERM);
	CHECK(fails_with(syscall(SYS_bpf, 0 /* BPF_MAP_CREATE */, attr, sizeof(attr))) == EPERM);
	CHECK(fails_with(syscall(SYS_setns, 0, 0)) == EPERM);
	CHECK(fails_with(syscall(SYS_unshare, 0)) == EPERM);
	CHECK(fails_with(syscall(SYS_clone, 0x10000000 /* CLONE_NEWUSER */, 0, 0, 0, 0)) == EPERM);
	CHECK(fails_with(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) == EPERM); /* a process */
	CHECK(fails_with(syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0)) == EPERM);
	CHECK(fails_with(syscall(SYS_kill, 1, 0)) == EPERM);
	CHECK(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	      MAP_FAILED);
	char tiocsti = 'x';
	CHECK(fails_with(syscall(SYS_ioctl, 0, 0x100005412ull, &tiocsti)) == EPERM);
	sem_post(&ready); /* threads that were there before */
	pthread_join(earlier, &result);
	CHECK((intptr_t)result == EPERM);
	CHECK(pthread_create(&earlier, NULL, thread_tries, &ready) == 0); /* and later ones start */
	sem_post(&ready);
	pthread_join(earlier, &result);
	CHECK((intptr_t)result == EPERM);
}

static void s14_system_calls(void **state)
{
	(void)state;
	in_child(calls);
}

static void calls_to_attach(void)
{
	char err[200] = "", attr[128] = {0};
	char *const argv[] = {"true", NULL};
	CHECK(sandbox_calls_only(true, err, sizeof(err)) == 0);
	CHECK(packet_socket() == 0);
	CHECK(fails_with(syscall(SYS_bpf, 0, attr, sizeof(attr))) != EPERM);
	CHECK(fails_with(execv("/bin/true", argv)) == EPERM);
}

static void s14_attaching_again_stays_possible(void **state)
{
	(void)state;
	need_root();
	in_child(calls_to_attach);
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
		cmocka_unit_test(s14_files),
		cmocka_unit_test(properties),
		cmocka_unit_test(s14_system_calls),
		cmocka_unit_test(s14_attaching_again_stays_possible),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
