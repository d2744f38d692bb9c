/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture/sandbox.h"

/* Rights of later ABIs than Debian 12's headers know: 3 (Linux 6.2), 5 (6.10) */
#define RIGHT_TRUNCATE  (1ull << 14)
#define RIGHT_IOCTL_DEV (1ull << 15)

#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_WRITE                                                                               \
	(RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |            \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                             \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM | RIGHT_TRUNCATE)
/* Those that a rule about a file, not a directory, may name */
#define RIGHTS_OF_FILE                                                                             \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | RIGHT_TRUNCATE)

static void add(char list[SANDBOX_PATHS][SANDBOX_PATH_MAX], size_t *n, bool *cut, const char *path)
{
	if (*n == SANDBOX_PATHS || strlen(path) >= SANDBOX_PATH_MAX)
		*cut = true;
	else
		snprintf(list[(*n)++], SANDBOX_PATH_MAX, "%s", path);
}

void sandbox_may_read(struct sandbox_files *f, const char *path)
{
	add(f->read, &f->n_read, &f->cut, path);
}

void sandbox_may_write(struct sandbox_files *f, const char *path)
{
	add(f->write, &f->n_write, &f->cut, path);
}

void sandbox_may_resolve(struct sandbox_files *f)
{
	static const char *const paths[] = {"/etc/resolv.conf",
					    "/etc/hosts",
					    "/etc/nsswitch.conf",
					    "/etc/host.conf",
					    "/etc/gai.conf",
					    "/etc/services",
					    "/etc/protocols",
					    "/etc/passwd",
					    "/etc/localtime",
					    "/etc/ld.so.cache",
					    "/etc/krb5.conf",
					    "/etc/ssl/certs",
					    "/etc/ssl/openssl.cnf",
					    "/etc/ssl/cert.pem",
					    "/etc/pki/tls/certs",
					    "/etc/pki/ca-trust",
					    "/etc/ca-certificates",
					    "/usr/lib/ssl",
					    "/usr/lib",
					    "/usr/lib64",
					    "/lib",
					    "/lib64",
					    "/usr/local/lib",
					    "/usr/share/ca-certificates",
					    "/usr/local/share/ca-certificates",
					    "/usr/share/zoneinfo",
					    "/run/systemd/resolve",
					    "/run/resolvconf",
					    "/run/NetworkManager",
					    "/sys/devices/system/cpu",
					    "/dev/urandom",
					    "/dev/random",
					    "/dev/null"};
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		sandbox_may_read(f, paths[i]);
}

/* Of a percent-encoded value, up to the next property */
static void decode(const char *at, char *out, size_t out_n)
{
	size_t n = 0;
	for (; *at && *at != '&' && n + 1 < out_n; at++) {
		unsigned byte;
		if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1) {
			out[n++] = (char)byte;
			at += 2;
		} else {
			out[n++] = *at;
		}
	}
	out[n] = 0;
}

void sandbox_may_read_properties(struct sandbox_files *f, const char *uri)
{
	char path[SANDBOX_PATH_MAX * 2] = "";
	const char *at = strchr(uri, '?');
	while (at && (at = strchr(at, '='))) {
		decode(++at, path, sizeof(path));
		bool secret = strncmp(path, "file:", 5) == 0; /* sink/kafka_secret.h */
		char *file = secret ? path + 5 : path, *slash = strrchr(file, '/');
		if (file[0] != '/' && !secret)
			continue;
		sandbox_may_read(f, file);
		if (!slash || slash == file)
			continue;
		*slash = 0;
		if (strcmp(file, "/etc") != 0)
			sandbox_may_read(f, file);
	}
}

static uint64_t rights_of_abi(long abi)
{
	uint64_t rights = (1ull << 13) - 1; /* execute ... make_sym */
	if (abi >= 2)
		rights |= 1ull << 13; /* refer */
	if (abi >= 3)
		rights |= RIGHT_TRUNCATE;
	if (abi >= 5)
		rights |= RIGHT_IOCTL_DEV;
	return rights;
}

/* A path that is not there has nothing to protect. */
static int rule_add(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	struct stat st;
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return 0;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= RIGHTS_OF_FILE;
	long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	int e = rc < 0 ? -errno : 0;
	close(rule.parent_fd);
	return e;
}

static int rules_add(int ruleset, const struct sandbox_files *f, uint64_t handled)
{
	int rc = 0;
	for (size_t i = 0; i < f->n_read && rc == 0; i++)
		rc = rule_add(ruleset, f->read[i], RIGHTS_READ & handled);
	for (size_t i = 0; i < f->n_write && rc == 0; i++)
		rc = rule_add(ruleset, f->write[i], RIGHTS_WRITE & handled);
	return rc;
}

int sandbox_files_only(const struct sandbox_files *files, char *err, size_t err_n)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1) {
		snprintf(err, err_n, "this kernel has no Landlock: %s", strerror(errno));
		return -ENOTSUP;
	}
	struct landlock_ruleset_attr attr = {.handled_access_fs = rights_of_abi(abi)};
	int ruleset =
		(int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	int rc = ruleset < 0 ? -errno : rules_add(ruleset, files, attr.handled_access_fs);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = -errno;
	if (rc == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		rc = -errno;
	if (ruleset >= 0)
		close(ruleset);
	if (rc < 0)
		snprintf(err, err_n, "Landlock: %s", strerror(-rc));
	return rc;
}
