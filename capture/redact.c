/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/redact.h"

#define MASK "[redacted]"

/* Header and metadata names whose values are secrets, lower case. */
static const struct bytes secret_names[] = {
	BYTES("authorization"),
	BYTES("proxy-authorization"),
	BYTES("cookie"),
	BYTES("set-cookie"),
	BYTES("set-cookie2"),
	BYTES("x-api-key"),
	BYTES("api-key"),
	BYTES("apikey"),
	BYTES("x-auth-token"),
	BYTES("x-access-token"),
	BYTES("x-csrf-token"),
	BYTES("x-xsrf-token"),
	BYTES("x-amz-security-token"),
	BYTES("x-vault-token"),
	BYTES("x-goog-iap-jwt-assertion"),
	BYTES("x-forwarded-access-token"),
	BYTES("x-jwt-assertion"),
	BYTES("x-session-token"),
	BYTES("x-refresh-token"),
	BYTES("x-client-secret"),
	BYTES("x-secret-key"),
	BYTES("x-gitlab-token"),
	BYTES("private-token"),
	BYTES("dapr-api-token"),
	BYTES("gdpr-token"),
	BYTES("x-authorization"),
	BYTES("x-api-token"),
	BYTES("x-api-secret"),
	BYTES("x-auth-key"),
	BYTES("x-functions-key"),
};

/* Query parameters, lower case. Names that are as often no secret (token, key, code) are left to rules. */
static const struct bytes secret_params[] = {
	BYTES("access_token"),  BYTES("refresh_token"),   BYTES("id_token"),
	BYTES("auth_token"),    BYTES("api_key"),         BYTES("apikey"),
	BYTES("password"),      BYTES("passwd"),          BYTES("secret"),
	BYTES("client_secret"), BYTES("signature"),       BYTES("sessionid"),
	BYTES("assertion"),     BYTES("x-amz-signature"), BYTES("x-amz-security-token"),
};

/* Headers whose value is a request target or a URL, lower case. */
static const struct bytes url_names[] = {
	BYTES(":path"),
	BYTES("referer"),
	BYTES("location"),
	BYTES("content-location"),
	BYTES("x-original-url"),
	BYTES("x-rewrite-url"),
	BYTES("x-forwarded-uri"),
	BYTES("x-original-uri"),
	BYTES("x-envoy-original-path"),
};

static bool in_list(struct bytes name, const struct bytes *list, size_t n)
{
	for (size_t i = 0; name.n && i < n; i++)
		if (list[i].n == name.n && (name.p[0] | 0x20) == (list[i].p[0] | 0x20) &&
		    bytes_caseeq(name, list[i]))
			return true;
	return false;
}

#define IN_LIST(name, list) in_list(name, list, sizeof(list) / sizeof((list)[0]))

enum { LISTED_MAX = 32 };

/* Which first letters (a bit each) a listed name of each length has: most headers are told by this alone. */
static uint32_t listed_starts[LISTED_MAX];

static void list_starts(const struct bytes *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		listed_starts[list[i].n] |= 1u << (list[i].p[0] & 31);
}

static __attribute__((constructor)) void listed_init(void)
{
	list_starts(secret_names, sizeof(secret_names) / sizeof(secret_names[0]));
	list_starts(url_names, sizeof(url_names) / sizeof(url_names[0]));
}

static bool may_be_listed(struct bytes name)
{
	return name.n < LISTED_MAX && name.n && listed_starts[name.n] >> (name.p[0] & 31) & 1;
}

/*
 * ByteDance's frameworks carry a caller's values under a prefix, in HTTP with '-' (bytedance/gopkg cloud/metainfo): the
 * name behind it is what tells.
 */
static struct bytes plain_name(struct bytes name)
{
	enum { PREFIX = 12 };
	static const char *const prefixes[] = {"rpc_transit_", "rpc_persist_", "rpc-transit-",
					       "rpc-persist-"};
	if (name.n <= PREFIX || (name.p[PREFIX - 1] != '_' && name.p[PREFIX - 1] != '-'))
		return name;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (bytes_caseeq(bytes_head(name, PREFIX), bytes_str(prefixes[i])))
			return bytes_from(name, PREFIX);
	return name;
}

bool redact_headers(struct header *headers, size_t n, struct arena *arena)
{
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		struct header *h = &headers[i];
		struct bytes name = plain_name(h->name);
		bool unknown = h->provenance == PROVENANCE_UNKNOWN && h->name.n == 0;
		if (!unknown && !may_be_listed(name))
			continue;
		if (unknown || IN_LIST(name, secret_names)) {
			h->value = BYTES(MASK);
			any = true;
		} else if (IN_LIST(name, url_names)) {
			any |= redact_path(&h->value, arena);
		}
	}
	return any;
}

/* The place of the first byte from `from` on that is one of `set`; b.n: none. */
static inline size_t find(struct bytes b, size_t from, const char *set)
{
	for (; from < b.n; from++)
		for (const char *c = set; *c; c++)
			if (b.p[from] == (uint8_t)*c)
				return from;
	return b.n;
}

/* A parameter of a query: offsets of its name and value. */
struct param {
	size_t name, name_end, value, end;
};

/* The next one from `at` on. False: none left. A fragment is taken for more of them. */
static bool param_next(struct bytes q, size_t at, struct param *p)
{
	if (at >= q.n)
		return false;
	p->name = at;
	p->name_end = find(q, at, "=&;#?");
	bool value = p->name_end < q.n && q.p[p->name_end] == '=';
	p->value = value ? p->name_end + 1 : p->name_end;
	p->end = value ? find(q, p->value, "&;#") : p->name_end;
	return true;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The name with its %XX read (RFC 3986 section 2.1); empty when it is longer than any of the list. */
static struct bytes name_decode(struct bytes in, uint8_t *out, size_t out_n)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (n == out_n)
			return (struct bytes) {NULL, 0};
		out[n] = in.p[i];
		int high = i + 2 < in.n && in.p[i] == '%' ? hex(in.p[i + 1]) : -1;
		int low = high >= 0 ? hex(in.p[i + 2]) : -1;
		if (high >= 0 && low >= 0) {
			out[n] = (uint8_t)(high << 4 | low);
			i += 2;
		}
		n++;
	}
	return bytes_of(out, n);
}

static bool secret_param(struct bytes path, const struct param *p)
{
	uint8_t text[32];
	if (p->value >= p->end)
		return false;
	struct bytes name =
		name_decode(bytes_of(path.p + p->name, p->name_end - p->name), text, sizeof(text));
	return IN_LIST(name, secret_params);
}

/* Where "user:password@" of an absolute target, or of an authority alone, lies; both 0 when there is none. */
static void userinfo(struct bytes path, size_t *from, size_t *to)
{
	*from = *to = 0;
	if (!path.n || path.p[0] == '/' || path.p[0] == '?')
		return;
	size_t start = find(path, 0, ":/?#");
	start = bytes_starts(bytes_from(path, start), BYTES("://")) ? start + 3 : 0;
	size_t end = find(path, start, "/?#");
	for (size_t at = end; at > start; at--)
		if (path.p[at - 1] == '@') {
			*from = start;
			*to = at - 1;
			return;
		}
}

static size_t put(uint8_t *out, size_t n, struct bytes b)
{
	if (b.n)
		memcpy(out + n, b.p, b.n);
	return n + b.n;
}

bool redact_path(struct bytes *path, struct arena *arena)
{
	struct bytes in = *path;
	if (!in.n || (!memchr(in.p, '=', in.n) && !memchr(in.p, '@', in.n)))
		return false; /* neither a parameter nor userinfo */
	size_t query = find(in, 0, "?#") + 1, u0, u1, secrets = 0;
	struct param p;
	userinfo(in, &u0, &u1);
	for (size_t at = query; param_next(in, at, &p); at = p.end + 1)
		secrets += secret_param(in, &p);
	if (!secrets && u1 == u0)
		return false;
	uint8_t *out = arena_alloc(arena, in.n + (secrets + 1) * sizeof(MASK));
	if (!out) { /* fail closed */
		*path = BYTES(MASK);
		return true;
	}
	size_t n = 0, done = 0;
	if (u1 > u0) {
		n = put(out, n, bytes_head(in, u0));
		n = put(out, n, BYTES(MASK));
		done = u1;
	}
	for (size_t at = query; param_next(in, at, &p); at = p.end + 1) {
		if (!secret_param(in, &p))
			continue;
		n = put(out, n, bytes_of(in.p + done, p.value - done));
		n = put(out, n, BYTES(MASK));
		done = p.end;
	}
	n = put(out, n, bytes_from(in, done));
	*path = bytes_of(out, n);
	return true;
}
