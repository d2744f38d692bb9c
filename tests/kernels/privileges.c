/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command as uid and gid 65534 with exactly the named capabilities (permitted, effective,
 * inheritable, ambient and bounding) and with a hard and soft RLIMIT_MEMLOCK.
 *
 *   privileges CAPS MEMLOCK COMMAND...	CAPS: "bpf,net_admin" or "none"; MEMLOCK: bytes or "unlimited"
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static const struct {
	const char *name;
	unsigned cap;
} names[] = {
	{"bpf", 39 /* CAP_BPF */},
	{"net_admin", CAP_NET_ADMIN},
	{"net_raw", CAP_NET_RAW},
	{"perfmon", 38 /* CAP_PERFMON */},
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "privileges: %s: %s\n", what, strerror(errno));
	exit(126);
}

static uint64_t caps_parse(char *list)
{
	uint64_t caps = 0;
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		size_t i = 0;
		while (i < sizeof(names) / sizeof(names[0]) && strcmp(names[i].name, word) != 0)
			i++;
		if (i < sizeof(names) / sizeof(names[0])) {
			caps |= 1ull << names[i].cap;
		} else if (strcmp(word, "none") != 0) {
			errno = EINVAL;
			die(word);
		}
	}
	return caps;
}

static void caps_set(uint64_t caps)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	for (int i = 0; i < 2; i++) {
		uint32_t word = (uint32_t)(caps >> (32 * i));
		d[i] = (struct __user_cap_data_struct) {word, word, word};
	}
	if (syscall(SYS_capset, &h, d) < 0)
		die("capset");
}

/* Past the kernel's last capability prctl answers EINVAL. */
static void bounding_keep(uint64_t caps)
{
	for (unsigned c = 0; c < 64; c++)
		if (!(caps >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
			die("bounding set");
}

static void ambient_raise(uint64_t caps)
{
	for (unsigned c = 0; c < 64; c++)
		if (caps >> c & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) < 0)
			die("ambient set");
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fputs("usage: privileges CAPS MEMLOCK COMMAND...\n", stderr);
		return 2;
	}
	uint64_t caps = caps_parse(argv[1]);
	rlim_t lock =
		strcmp(argv[2], "unlimited") == 0 ? RLIM_INFINITY : strtoull(argv[2], NULL, 10);
	struct rlimit limit = {lock, lock};
	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		die("RLIMIT_MEMLOCK");
	bounding_keep(caps);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		die("uid");
	caps_set(caps);
	ambient_raise(caps);
	execv(argv[3], argv + 3);
	die(argv[3]);
}
