/* SPDX-License-Identifier: Apache-2.0 */
/* Syntax of --attach and --sink, so that a slip of the pen ends at start (exit 2) and not at the
 * first record. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "capture/settings_table.h"

enum { IFACE_MAX = 15, TOPIC_MAX = 249, PID_DIGITS = 7 };

static int wrong(const char **why, const char *what)
{
	*why = what;
	return -EINVAL;
}

static int copy_out(const char *text, char **out)
{
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if ((uint8_t)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static int interface_name(const char *name, const char **why)
{
	size_t n = strlen(name);
	if (n == 0 || n > IFACE_MAX || strcspn(name, "/ ,:") != n)
		return wrong(why, "names no interface");
	return 0;
}

/* "DIR", "pid:N", each perhaps with "cgroup:" once more */
static const char *cgroup_item(const char *item, size_t *n, const char **why)
{
	if (*n >= 7 && memcmp(item, "cgroup:", 7) == 0) {
		item += 7;
		*n -= 7;
	}
	if (*n >= 4 && memcmp(item, "pid:", 4) == 0) {
		size_t digits = strspn(item + 4, "0123456789");
		if (digits && digits + 4 == *n && digits <= PID_DIGITS && item[4] != '0')
			return item;
		*why = "has no process id after pid:";
		return NULL;
	}
	if (*n && (item[0] == '/' || item[0] == '.'))
		return item;
	*why = "names no cgroup: write its directory (/sys/fs/cgroup/...) or pid:N";
	return NULL;
}

/* After "cgroup:" */
static int cgroup_list(const char *list, char **out, const char **why)
{
	struct buf b = {0};
	int rc = buf_append(&b, BYTES("cgroup:"));

	for (const char *at = list; rc == 0 && at;) {
		const char *comma = strchr(at, ',');
		size_t n = comma ? (size_t)(comma - at) : strlen(at);
		const char *item = cgroup_item(at, &n, why);
		if (!item)
			rc = -EINVAL;
		if (rc == 0 && at != list)
			rc = buf_append(&b, BYTES(","));
		if (rc == 0)
			rc = buf_append(&b, bytes_of(item, n));
		at = comma ? comma + 1 : NULL;
	}
	if (rc == 0)
		rc = buf_append(&b, bytes_of("", 1));
	if (rc < 0)
		buf_fini(&b);
	else
		*out = (char *)b.p;
	return rc;
}

int spec_attach(const char *text, char **out, const char **why)
{
	size_t n = strcspn(text, ":");
	const char *rest = text[n] ? text + n + 1 : NULL;
	struct bytes name = bytes_of(text, n);
	int rc = 0;

	if (!printable(text))
		return wrong(why, "has control characters");
	if (bytes_eq(name, BYTES("cgroup")) && rest)
		return cgroup_list(rest, out, why);
	if (bytes_eq(name, BYTES("auto")) && rest)
		rc = wrong(why, "takes nothing after auto");
	else if ((bytes_eq(name, BYTES("socket")) || bytes_eq(name, BYTES("pcap"))) && rest)
		rc = interface_name(rest, why);
	else if (!bytes_eq(name, BYTES("auto")) && !bytes_eq(name, BYTES("cgroup")) &&
		 !bytes_eq(name, BYTES("socket")) && !bytes_eq(name, BYTES("pcap")))
		rc = wrong(why, "is no way to attach");
	return rc < 0 ? rc : copy_out(text, out);
}

static bool port_ok(const char *s, size_t n)
{
	unsigned port = 0;
	if (n == 0 || n > 5)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		port = port * 10 + (unsigned)(s[i] - '0');
	}
	return port >= 1 && port <= 65535;
}

/* HOST, HOST:PORT, [V6]:PORT */
static bool broker_ok(const char *s, size_t n)
{
	size_t host = n && s[0] == '[' ? strcspn(s, "]") + 1 : strcspn(s, ":,/?");
	if (host == 0 || host > n || (s[0] == '[' && host < 4))
		return false;
	for (size_t i = 0; i < host; i++)
		if ((uint8_t)s[i] <= ' ' || s[i] == '@')
			return false;
	return host == n || (s[host] == ':' && port_ok(s + host + 1, n - host - 1));
}

static int topic_ok(const char *s, size_t n, const char **why)
{
	if (n == 0)
		return wrong(why, "names no topic after the brokers");
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
			    s[i]))
			return wrong(why,
				     "has a topic with other characters than a-z A-Z 0-9 . _ -");
	if (n > TOPIC_MAX || (n <= 2 && strspn(s, ".") >= n))
		return wrong(why, "has a topic that Kafka does not allow");
	return 0;
}

/* "a=b&c=d" */
static int properties_ok(const char *s, const char **why)
{
	while (*s) {
		size_t n = strcspn(s, "&"), name = strcspn(s, "=&");
		if (name == 0 || name == n)
			return wrong(why, "has a property that is not name=value");
		s += n + (s[n] == '&');
	}
	return 0;
}

static int kafka_ok(const char *brokers, const char **why)
{
	size_t n = strcspn(brokers, "/?");
	if (brokers[n] != '/')
		return wrong(why, "names no topic after the brokers");
	for (size_t at = 0; at <= n;) {
		size_t one = strcspn(brokers + at, ",/");
		if (!broker_ok(brokers + at, one))
			return wrong(why, "has a broker that is not HOST:PORT");
		at += one + 1;
	}
	const char *topic = brokers + n + 1;
	n = strcspn(topic, "?");
	int rc = topic_ok(topic, n, why);
	return rc == 0 && topic[n] == '?' ? properties_ok(topic + n + 1, why) : rc;
}

static int embedded_ok(const char *rest, const char **why)
{
	size_t n = 0;
	if (*rest == '/') {
		n = strcspn(rest, "?");
		int rc = topic_ok(rest + 1, n - 1, why);
		if (rc < 0)
			return rc;
	}
	if (rest[n] == '?')
		return properties_ok(rest + n + 1, why);
	return rest[n] ? wrong(why, "is no sink") : 0;
}

int spec_sink(const char *text, char **out, const char **why)
{
	int rc;
	if (!printable(text))
		return wrong(why, "has control characters");
	if (strncmp(text, "kafka://", 8) == 0)
		rc = kafka_ok(text + 8, why);
	else if (strncmp(text, "kafka:embedded", 14) == 0)
		rc = embedded_ok(text + 14, why);
	else if (strncmp(text, "file:", 5) == 0)
		rc = text[5] ? 0 : wrong(why, "names no directory");
	else if (strcmp(text, "print") == 0 || strcmp(text, "print:") == 0)
		return copy_out("print:", out);
	else if (strcmp(text, "null") == 0 || strcmp(text, "null:") == 0)
		return copy_out("null:", out);
	else
		rc = wrong(why, "is no sink");
	return rc < 0 ? rc : copy_out(text, out);
}

static bool secret_name(const char *s, size_t n)
{
	static const char *const parts[] = {"password", "secret",     "token", "key",
					    "jaas",     "credential", "pem"};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		size_t len = strlen(parts[i]);
		for (size_t at = 0; at + len <= n; at++)
			if (strncasecmp(s + at, parts[i], len) == 0)
				return true;
	}
	return false;
}

/* Inside single quotes of YAML */
static void put_quoted(const char *s, size_t n, FILE *out)
{
	char safe[4096];
	log_escape(safe, sizeof(safe), bytes_of(s, n));
	for (const char *p = safe; *p; p++)
		fprintf(out, *p == '\'' ? "''" : "%c", *p);
}

void spec_print_sink(const char *sink, FILE *out)
{
	size_t n = strncmp(sink, "kafka:", 6) == 0 ? strcspn(sink, "?") : strlen(sink);
	fputc('\'', out);
	put_quoted(sink, n, out);
	for (const char *s = sink + n; *s;) {
		size_t all = 1 + strcspn(s + 1, "&"), name = strcspn(s, "=");
		bool hide = name < all && secret_name(s + 1, name - 1);
		put_quoted(s, hide ? name : all, out);
		fputs(hide ? "=[redacted]" : "", out);
		s += all;
	}
	fputc('\'', out);
}

/* "127.0.0.1:9464", "[::1]:9464" or "unix:/run/x.sock" */
int spec_listen(const char *text, char **out, const char **why)
{
	struct in6_addr addr;
	char host[INET6_ADDRSTRLEN + 2] = "";
	const char *colon = strrchr(text, ':');

	if (!printable(text))
		return wrong(why, "has control characters");
	if (strncmp(text, "unix:", 5) == 0)
		return text[5] == '/' ? copy_out(text, out) : wrong(why, "has no absolute path");
	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return wrong(why, "names no address and port");
	memcpy(host, text, (size_t)(colon - text));
	size_t n = strlen(host);
	bool v6 = n > 2 && host[0] == '[' && host[n - 1] == ']';
	if (v6) {
		host[n - 1] = 0;
		memmove(host, host + 1, n - 1);
	}
	if (inet_pton(v6 ? AF_INET6 : AF_INET, host, &addr) != 1)
		return wrong(why, "has no numeric address");
	if (strcmp(colon + 1, "0") != 0 && !port_ok(colon + 1, strlen(colon + 1)))
		return wrong(why, "has no port");
	return copy_out(text, out);
}
