/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel, privileges, cgroups, and what a pod shares with us. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/doctor.h"

const struct doctor_cap doctor_caps[DOCTOR_CAPS] = {
	{"BPF", 39, "loads the probe"},
	{"NET_ADMIN", CAP_NET_ADMIN, "attaches it to a cgroup"},
	{"NET_RAW", CAP_NET_RAW, "packet sockets: socket and pcap"},
	{"PERFMON", 38, "the faster probe before Linux 6.5"},
	{"SYS_PTRACE", CAP_SYS_PTRACE, "other containers' cgroups and process names"},
	{"SYS_ADMIN", CAP_SYS_ADMIN, "stands for BPF and PERFMON"},
};

/* A small file of /proc or /sys, terminated; "" when it cannot be read */
static void slurp(const char *path, char *out, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, out, n - 1);
	if (fd >= 0)
		close(fd);
	out[got > 0 ? got : 0] = 0;
}

static const char *status_line(const char *status, const char *name)
{
	const char *at = strstr(status, name);
	return at ? at + strlen(name) : NULL;
}

void doctor_parse_status(struct doctor_host *h, const char *status)
{
	const char *at = status_line(status, "\nCapEff:");
	h->caps = at ? strtoull(at, NULL, 16) : 0;
	at = status_line(status, "\nSeccomp:");
	h->seccomp = at ? (int)strtol(at, NULL, 10) : -1;
	at = status_line(status, "\nNoNewPrivs:");
	h->no_new_privs = at && strtol(at, NULL, 10) == 1;
	at = status_line(status, "\nUid:"); /* real, effective */
	if (at && (at = strchr(at + 1, '\t')))
		h->uid = (unsigned)strtoul(at, NULL, 10);
}

/* Undoes the \040 of mountinfo */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; to++) {
		bool octal = s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3];
		*to = octal ? (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0')) : *s;
		s += octal ? 4 : 1;
	}
	*to = 0;
}

bool doctor_parse_mountinfo(const char *line, char *at, size_t at_n)
{
	char point[512];
	const char *type = strstr(line, " - ");
	if (!type || strncmp(type, " - cgroup2 ", 11) != 0 ||
	    sscanf(line, "%*s %*s %*s %*s %511s", point) != 1)
		return false;
	unescape(point);
	log_escape(at, at_n, bytes_str(point));
	return true;
}

static void look_cgroup(struct doctor_host *h)
{
	char text[4096], line[2048];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && fgets(line, sizeof(line), f))
		if (!h->cgroup2[0])
			doctor_parse_mountinfo(line, h->cgroup2, sizeof(h->cgroup2));
	if (f)
		fclose(f);
	slurp("/proc/self/cgroup", text, sizeof(text));
	const char *own = strncmp(text, "0::", 3) == 0 ? text + 3 : status_line(text, "\n0::");
	if (own)
		log_escape(h->own_cgroup, sizeof(h->own_cgroup), bytes_of(own, strcspn(own, "\n")));
}

void doctor_look_host(struct doctor_host *h)
{
	struct utsname u;
	struct rlimit lock = {0};
	char status[8192];

	*h = (struct doctor_host) {.seccomp = -1, .uid = geteuid()};
	if (uname(&u) == 0) {
		snprintf(h->release, sizeof(h->release), "%s", u.release);
		snprintf(h->machine, sizeof(h->machine), "%s", u.machine);
		sscanf(u.release, "%u.%u", &h->major, &h->minor);
	}
	h->btf = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
	slurp("/proc/self/status", status, sizeof(status));
	doctor_parse_status(h, status);
	getrlimit(RLIMIT_MEMLOCK, &lock);
	h->memlock_bytes = lock.rlim_max == RLIM_INFINITY ? UINT64_MAX : lock.rlim_max;
	look_cgroup(h);
}

bool doctor_has_cap(const struct doctor_host *h, unsigned number)
{
	return h->caps >> number & 1;
}

bool doctor_kernel_before(const struct doctor_host *h, unsigned major, unsigned minor)
{
	return h->major < major || (h->major == major && h->minor < minor);
}

/* The cgroup v2 line, or all of it where there is none */
static void cgroup_of(const char *pid, char *out, size_t n)
{
	char path[320], text[4096];
	snprintf(path, sizeof(path), "/proc/%.40s/cgroup", pid);
	slurp(path, text, sizeof(text));
	const char *v2 = strncmp(text, "0::", 3) == 0 ? text : status_line(text, "\n0::");
	snprintf(out, n, "%s", v2 ? v2 : text);
}

/* What the walk over /proc compares with */
struct self {
	struct stat net;
	char cgroup[4096];
	const char *cgroup2;
};

static void look_process(struct doctor_pod *p, const char *pid, const struct self *self)
{
	char path[512], cgroup[4096];
	struct stat st;

	p->processes++;
	snprintf(path, sizeof(path), "/proc/%.40s/ns/net", pid);
	if (stat(path, &st) < 0 || st.st_ino != self->net.st_ino || st.st_dev != self->net.st_dev)
		return;
	p->same_network++;
	cgroup_of(pid, cgroup, sizeof(cgroup));
	if (!*cgroup || strcmp(cgroup, self->cgroup) == 0)
		return;
	p->other_cgroup++;
	snprintf(path, sizeof(path), "/proc/%.40s/root%.300s/cgroup.procs", pid, self->cgroup2);
	p->reachable += *self->cgroup2 && access(path, R_OK) == 0;
}

void doctor_look_pod(struct doctor_pod *p, const char *cgroup2)
{
	char name[32];
	struct self self = {.cgroup2 = cgroup2};
	struct dirent *e;
	DIR *d = opendir("/proc");

	*p = (struct doctor_pod) {.kubernetes = getenv("KUBERNETES_SERVICE_HOST") != NULL};
	slurp("/proc/1/comm", name, sizeof(name));
	log_escape(p->first_process, sizeof(p->first_process), bytes_of(name, strcspn(name, "\n")));
	cgroup_of("self", self.cgroup, sizeof(self.cgroup));
	stat("/proc/self/ns/net", &self.net);
	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			look_process(p, e->d_name, &self);
	if (d)
		closedir(d);
}
