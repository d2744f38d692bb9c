/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves the privileges that mirroring no longer needs once it is attached: capabilities, system calls (seccomp), files
 * (Landlock). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Before any payload is read: no core dumps (RLIMIT_CORE 0, PR_SET_DUMPABLE 0, and no
 * memory in one), no_new_privs. 0, -errno. */
int sandbox_early(void);

/*
 * Capabilities belong to threads, and new ones inherit. Runs fn on a thread of its own without any
 * capability and waits for it: what fn starts (a sink's threads) never has one, while the caller
 * keeps its own for attaching. 0; -errno and fn did not run.
 */
int sandbox_unprivileged(void (*fn)(void *ctx), void *ctx);

/* What to keep of the capabilities that are there */
enum sandbox_keep {
	/* to attach again: CAP_BPF, or CAP_SYS_ADMIN where there is none; CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON */
	SANDBOX_ATTACH = 1,
	SANDBOX_LOOK =
		2, /* into other processes (capture/look.h): CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH */
};

/*
 * After attaching: drops every capability of the calling thread but those in `keep` (enum sandbox_keep, or'ed); from
 * the bounding and ambient sets too (bounding as far as CAP_SETPCAP allows: no_new_privs, set here
 * as well, closes that road anyway).
 *
 * Ends by reading back all threads of the process. 0; -EBUSY: another thread, started outside of
 * sandbox_unprivileged(), holds more than that still; -errno; with one line in err.
 */
int sandbox_drop(unsigned keep, char *err, size_t err_n);

enum { SANDBOX_PATHS = 64, SANDBOX_PATH_MAX = 256 };

/* Files and directories (with all below) that stay reachable. Those that do not exist are left out. */
struct sandbox_files {
	char read[SANDBOX_PATHS][SANDBOX_PATH_MAX];
	char write[SANDBOX_PATHS][SANDBOX_PATH_MAX]; /* read, create, rename and remove as well */
	size_t n_read, n_write;
	bool cut; /* did not fit: too long, or too many */
};
void sandbox_may_read(struct sandbox_files *f, const char *path);
void sandbox_may_write(struct sandbox_files *f, const char *path);
/* What name resolution, TLS, time zones and the C library read. Single files of /etc: /etc/shadow is not among them. */
void sandbox_may_resolve(struct sandbox_files *f);
/* What a file property of a sink's URI names ("...?ssl.ca.location=/x/ca.pem&sasl.password=file:/y/word"): the file and
 * its directory, where secrets are swapped by symlinks, unless that is / or /etc. */
void sandbox_may_read_properties(struct sandbox_files *f, const char *uri);

/*
 * Landlock, for the calling thread and those that it starts: nothing but `files` can be opened, executed or changed;
 * what is open stays so. The kernel also takes every look into other processes from such a thread (/proc/PID/fd,
 * /proc/PID/root): capture/look.h. 0; -ENOTSUP: this kernel has no
 * Landlock; -errno with one line in err.
 */
int sandbox_files_only(const struct sandbox_files *files, char *err, size_t err_n);

/*
 * seccomp, for all threads of the process: system calls outside of what mirroring, delivery and HTTP need answer EPERM
 * (and are logged by the kernel's audit), never kill: fork, execve, ptrace, mount, keys, modules, sockets of other families
 * ...; memory is never writable and executable at once. keep_attach leaves bpf() and packet sockets. 0; -ENOTSUP;
 * -errno with one line in err.
 */
int sandbox_calls_only(bool keep_attach, char *err, size_t err_n);
