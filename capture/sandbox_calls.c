/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>

#include "capture/sandbox.h"

/* By name: what this kernel's headers or libseccomp do not know is left out. */
static const char *const calls[] = {
	/* memory and threads */
	"brk",
	"munmap",
	"mremap",
	"madvise",
	"mincore",
	"membarrier",
	"futex",
	"futex_waitv",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"set_tid_address",

	"exit",
	"exit_group",
	"sched_yield",
	"sched_getaffinity",
	"sched_setaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"sched_setscheduler",
	"setpriority",
	"getpriority",
	"arch_prctl",
	"prctl",
	"getcpu",
	"gettid",
	"getpid",
	"getppid",
	"getpgrp",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getgroups",
	"getresuid",
	"getresgid",
	"uname",
	"sysinfo",
	"getrusage",
	"times",
	"getrlimit",
	"prlimit64",
	"capget",
	"capset",
	"umask",
	"getcwd",
	/* time and signals */
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"restart_syscall",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigpending",
	"rt_sigtimedwait",
	"sigaltstack",
	"signalfd4",
	"tgkill",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_gettime",
	"timer_create",
	"timer_settime",
	"timer_delete",
	"setitimer",
	"getitimer",
	"alarm",
	"pause",
	/* files */
	"read",
	"readv",
	"pread64",
	"preadv",
	"preadv2",
	"write",
	"writev",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"open",
	"openat",
	"openat2",
	"creat",
	"close",
	"close_range",
	"lseek",
	"fstat",
	"stat",
	"lstat",
	"newfstatat",
	"fstatat64",
	"statx",
	"statfs",
	"fstatfs",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents",
	"getdents64",
	"fcntl",
	"flock",
	"fsync",
	"fdatasync",
	"sync_file_range",
	"fallocate",
	"ftruncate",
	"truncate",
	"rename",
	"renameat",
	"renameat2",
	"unlink",
	"unlinkat",
	"mkdir",
	"mkdirat",
	"rmdir",
	"link",
	"linkat",
	"fchmod",
	"fchmodat",
	"chmod",
	"fadvise64",
	"dup",
	"dup2",
	"dup3",
	"pipe",
	"pipe2",

	"splice",
	"sendfile",
	"copy_file_range",
	"memfd_create",
	"inotify_init1",
	"inotify_add_watch",
	"inotify_rm_watch",
	"name_to_handle_at",
	"utimensat",
	/* waiting and the network */
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"eventfd",
	"eventfd2",
	"socketpair",
	"bind",
	"connect",
	"listen",
	"accept",
	"accept4",
	"shutdown",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"send",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"recv",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"getrandom",
};

static int allow(scmp_filter_ctx f, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR)
		return 0;
	int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0);
	return rc == -EDOM || rc == -EEXIST ? 0 : rc; /* not a call of this architecture */
}

/* Where the argument's bits in `mask` are those of `value`. */
static int allow_bits(scmp_filter_ctx f, const char *name, unsigned arg, uint64_t mask,
		      uint64_t value)
{
	const struct scmp_arg_cmp cmp = {arg, SCMP_CMP_MASKED_EQ, mask, value};
	int nr = seccomp_syscall_resolve_name(name);
	int rc = nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, 1, &cmp);
	return rc == -EDOM || rc == -EEXIST ? 0 : rc;
}

static int allow_sockets(scmp_filter_ctx f, bool packets)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	int rc = 0;
	for (size_t i = 0; i < sizeof(families) / sizeof(*families) && rc == 0; i++)
		rc = allow_bits(f, "socket", 0, UINT64_MAX, (uint64_t)families[i]);
	if (rc == 0 && packets)
		rc = allow_bits(f, "socket", 0, UINT64_MAX, AF_PACKET);
	return rc;
}

/* Never writable and executable at once; executable is what the C library loads. */
static int allow_memory(scmp_filter_ctx f)
{
	static const char *const names[] = {"mmap", "mmap2", "mprotect"};
	static const uint64_t modes[] = {0, PROT_WRITE, PROT_EXEC};
	const uint64_t both = PROT_WRITE | PROT_EXEC;
	int rc = 0;
	for (size_t n = 0; n < 3; n++)
		for (size_t m = 0; m < 3 && rc == 0; m++)
			rc = allow_bits(f, names[n], 2, both, modes[m]);
	return rc;
}

/* Two commands need no capability, but an fd of ours: detaching, and how long the probe ran. */
static int allow_bpf(scmp_filter_ctx f, bool keep_attach)
{
	if (keep_attach)
		return allow(f, "bpf");
	int rc = allow_bits(f, "bpf", 0, UINT64_MAX, BPF_LINK_DETACH);
	return rc ? rc : allow_bits(f, "bpf", 0, UINT64_MAX, BPF_OBJ_GET_INFO_BY_FD);
}

/* Threads: no processes, no namespaces. clone3 hides its flags in memory: without it the C library takes clone. */
static int allow_threads(scmp_filter_ctx f)
{
	const uint64_t namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
				    CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int rc = allow_bits(f, "clone", 0, namespaces | CLONE_THREAD, CLONE_THREAD);
	int nr = seccomp_syscall_resolve_name("clone3");
	if (rc == 0 && nr != __NR_SCMP_ERROR)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
	return rc;
}

/* Of terminals, of what waits to be read, whether the interface is there; other SIOC* of interfaces where packet sockets may be opened again. */
static int allow_ioctls(scmp_filter_ctx f, bool packets)
{
	static const uint64_t requests[] = {TCGETS,  TIOCGWINSZ, FIONREAD,
					    FIONBIO, FIOCLEX,    SIOCGIFINDEX};
	int rc = 0;
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests) && rc == 0; i++)
		rc = allow_bits(f, "ioctl", 1, 0xffffffff, requests[i]);
	if (rc == 0 && packets)
		rc = allow_bits(f, "ioctl", 1, 0xffffff00, 0x8900);
	return rc;
}

static int fill(scmp_filter_ctx f, bool keep_attach)
{
	int rc = 0;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && rc == 0; i++)
		rc = allow(f, calls[i]);
	if (rc == 0)
		rc = allow_sockets(f, keep_attach);
	if (rc == 0)
		rc = allow_memory(f);
	if (rc == 0)
		rc = allow_threads(f);
	if (rc == 0)
		rc = allow_ioctls(f, keep_attach);
	return rc ? rc : allow_bpf(f, keep_attach);
}

int sandbox_calls_only(bool keep_attach, char *err, size_t err_n)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = f ? fill(f, keep_attach) : -ENOMEM;
	if (rc == 0)
		rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0) { /* what only makes it quicker, or tells: older kernels lack it */
		(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
		(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		(void)seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
		rc = seccomp_load(f);
	}
	if (f)
		seccomp_release(f);
	if (rc == -EINVAL || rc == -ENOSYS || rc == -EOPNOTSUPP)
		rc = -ENOTSUP;
	if (rc < 0)
		snprintf(err, err_n, "seccomp: %s", strerror(-rc));
	return rc;
}
