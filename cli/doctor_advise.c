/* SPDX-License-Identifier: Apache-2.0 */
/* What to change: one concrete line per thing that is missing. */
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <string.h>

#include "base/units.h"
#include "cli/doctor.h"

enum { CAP_NUMBER_PERFMON = 38, CAP_NUMBER_BPF = 39 };

static void advise(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void advise(struct doctor *d, const char *fmt, ...)
{
	va_list args;
	if (d->n_advice == DOCTOR_ADVICE_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(d->advice[d->n_advice++], sizeof(d->advice[0]), fmt, args);
	va_end(args);
}

const struct doctor_attach *doctor_choice(const struct doctor *d)
{
	for (size_t i = 0; i < DOCTOR_BACK_ENDS; i++)
		if (d->attach[i].works)
			return &d->attach[i];
	return NULL;
}

static bool works(const struct doctor *d, const char *name)
{
	for (size_t i = 0; i < DOCTOR_BACK_ENDS; i++)
		if (d->attach[i].name && strcmp(d->attach[i].name, name) == 0)
			return d->attach[i].works;
	return false;
}

static bool may_bpf(const struct doctor_host *h)
{
	return doctor_has_cap(h, CAP_NUMBER_BPF) || doctor_has_cap(h, CAP_SYS_ADMIN);
}

static void put(char *to, size_t n, const char *name)
{
	size_t used = strlen(to);
	snprintf(to + used, n - used, "%s%s", used ? ", " : "", name);
}

static void capabilities(struct doctor *d)
{
	const struct doctor_host *h = &d->host;
	char missing[128] = "";
	bool direct_needs_perfmon = doctor_kernel_before(h, 6, 5);

	if (!may_bpf(h))
		put(missing, sizeof(missing), "BPF");
	if (!doctor_has_cap(h, CAP_NET_ADMIN))
		put(missing, sizeof(missing), "NET_ADMIN");
	if (!doctor_has_cap(h, CAP_NET_RAW))
		put(missing, sizeof(missing), "NET_RAW");
	if (direct_needs_perfmon && !doctor_has_cap(h, CAP_NUMBER_PERFMON) &&
	    !doctor_has_cap(h, CAP_SYS_ADMIN))
		put(missing, sizeof(missing), "PERFMON");
	if (!*missing)
		return;
	advise(d,
	       "give it the capabilities %s: docker run --cap-add, kubectl debug --custom ephemeral.json, "
	       "systemd AmbientCapabilities",
	       missing);
	if (h->uid != 0)
		advise(d,
		       "uid %u has none of its own: in Kubernetes only uid 0 gets them (runAsUser: 0)",
		       h->uid);
}

static void kernel(struct doctor *d)
{
	const struct doctor_host *h = &d->host;
	if (doctor_kernel_before(h, 5, 8))
		advise(d,
		       "Linux %u.%u has no BPF ring buffer: 5.8 or later captures exactly, here only pcap can",
		       h->major, h->minor);
	else if (doctor_kernel_before(h, 5, 11) && h->memlock_bytes < 64u << 20 &&
		 !doctor_has_cap(h, CAP_SYS_RESOURCE))
		advise(d,
		       "before Linux 5.11 BPF memory counts against RLIMIT_MEMLOCK (%s): raise it to 64 MiB "
		       "(ulimit -l, LimitMEMLOCK=) or give SYS_RESOURCE",
		       units_bytes(h->memlock_bytes).s);
	if (h->seccomp == 2 && may_bpf(h) && !works(d, "cgroup") && !works(d, "socket"))
		advise(d,
		       "the capabilities are there and bpf() is refused: look at the seccomp profile "
		       "(RuntimeDefault allows it with CAP_BPF)");
}

static void cgroups(struct doctor *d)
{
	const struct doctor_host *h = &d->host;
	if (!works(d, "cgroup") && !*h->cgroup2 && may_bpf(h))
		advise(d,
		       "cgroup v2 is not mounted here: --attach socket needs none and sees all of the network "
		       "namespace");
	if (d->pod.other_cgroup && !d->pod.reachable && !doctor_has_cap(h, CAP_SYS_PTRACE))
		advise(d,
		       "SYS_PTRACE opens the cgroups of the other containers (and names their processes); "
		       "without it --attach socket still works");
	if (d->pod.kubernetes && d->pod.processes == d->pod.same_network && !d->pod.other_cgroup)
		advise(d,
		       "no process of another container is visible: target the service (kubectl debug "
		       "--target) or share the process namespace, or use --attach socket");
}

static void traffic(struct doctor *d)
{
	const struct doctor_traffic *t = &d->traffic;
	if (t->sockmaps > 0 && t->silent)
		advise(d,
		       "%u local connections carry no TCP bytes and sockmaps exist: what a sockmap (Merbridge, old "
		       "Cilium) redirects passes no packet hook; turn it off for this pod to mirror it",
		       t->silent);
	if (d->kafka.caveat)
		advise(d, "%s", d->kafka.caveat);
	if (d->kafka.asked && !d->kafka.ok)
		advise(d,
		       "Kafka cannot take records yet: check address, network policy and the topic");
}

void doctor_advise(struct doctor *d)
{
	d->n_advice = 0;
	kernel(d);
	capabilities(d);
	cgroups(d);
	traffic(d);
	if (!doctor_choice(d))
		advise(d,
		       "nothing can attach: sidetap capture ends with 3 here, or waits with --idle");
	else if (!doctor_choice(d)->exact)
		advise(d, "only pcap works: it captures, but cannot prove its losses");
}
