/* SPDX-License-Identifier: Apache-2.0 */
/* What stands for a secret: [redacted], or a keyed hash (RFC 2104, section 5: HMAC cut to half). */
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/redact_state.h"

enum { HASH_BYTES = 16, DIGEST_BYTES = 32 };

/* Of the whole process, so that a reload changes no token. */
static uint8_t drawn[DIGEST_BYTES];
static bool is_drawn;

static int key_draw(struct redact_token *t)
{
	if (!is_drawn && getrandom(drawn, sizeof(drawn), 0) != sizeof(drawn))
		return -EIO;
	is_drawn = true;
	memcpy(t->key, drawn, sizeof(drawn));
	t->key_n = sizeof(drawn);
	return 0;
}

static int key_read_file(struct redact_token *t, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	ssize_t n = fstat(fd, &st) < 0 ? -1 : 0;
	if (n == 0 && !S_ISREG(st.st_mode))
		errno = EINVAL;
	else if (n == 0)
		n = read(fd, t->key, sizeof(t->key));
	int err = n > 0 ? 0 : errno ? -errno : -EINVAL;
	close(fd);
	t->key_n = n > 0 ? (size_t)n : 0;
	return err;
}

static int key_load(struct redact_token *t, const char *key, char *err, size_t err_n)
{
	bool file = strncmp(key, "file:", 5) == 0;
	errno = 0;
	if (file) {
		int rc = key_read_file(t, key + 5);
		if (rc < 0) {
			snprintf(err, err_n, "redact: key: %s: %s", key, strerror(-rc));
			return rc;
		}
	} else {
		const char *v = getenv(key + 4);
		size_t n = v ? strlen(v) : 0;
		t->key_n = n < sizeof(t->key) ? n : sizeof(t->key);
		if (v)
			memcpy(t->key, v, t->key_n);
	}
	while (t->key_n && (t->key[t->key_n - 1] == '\n' || t->key[t->key_n - 1] == '\r'))
		t->key_n--;
	if (t->key_n >= REDACT_KEY_MIN)
		return 0;
	snprintf(err, err_n, "redact: key: %s holds %zu bytes: allowed are %d to %d", key, t->key_n,
		 REDACT_KEY_MIN, REDACT_KEY_MAX);
	return -EINVAL;
}

static bool hashes(const struct redact_rules *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i].action == REDACT_HASH)
			return true;
	return false;
}

static bool same_key(const struct redactor *before, const char *key)
{
	return before && key && before->rules.key && before->token.key_n &&
	       strcmp(before->rules.key, key) == 0;
}

static int mac_open(struct redact_token *t, char *err, size_t err_n)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
			       OSSL_PARAM_construct_end()};
	EVP_MAC_free(mac);
	t->mac = ctx;
	if (ctx && EVP_MAC_init(ctx, t->key, t->key_n, params))
		return 0;
	snprintf(err, err_n, "redact: HMAC-SHA-256 is not to be had from libcrypto");
	return -EIO;
}

int redact_token_init(struct redact_token *t, const struct redact_rules *rules,
		      const struct redactor *before, char *err, size_t err_n)
{
	int rc = 0;
	const char *key = rules->key;
	if (!key && !hashes(rules))
		return 0;
	if (same_key(before, key)) {
		t->key_n = before->token.key_n;
		memcpy(t->key, before->token.key, t->key_n);
	} else if (key) {
		rc = key_load(t, key, err, err_n);
	} else if ((rc = key_draw(t)) < 0) {
		snprintf(err, err_n, "redact: no random key: %s", strerror(-rc));
	}
	return rc < 0 ? rc : mac_open(t, err, err_n);
}

void redact_token_fini(struct redact_token *t)
{
	EVP_MAC_CTX_free(t->mac);
	OPENSSL_cleanse(t->key, sizeof(t->key));
}

bool redact_token_hash(struct redact_token *t, struct bytes secret, uint8_t out[HASH_BYTES])
{
	uint8_t digest[DIGEST_BYTES];
	size_t n = 0;
	if (!t->mac || !EVP_MAC_init(t->mac, NULL, 0, NULL) ||
	    !EVP_MAC_update(t->mac, secret.p, secret.n) ||
	    !EVP_MAC_final(t->mac, digest, &n, sizeof(digest)) || n != sizeof(digest))
		return false;
	memcpy(out, digest, HASH_BYTES);
	return true;
}

struct bytes redact_token_text(struct redact_token *t, enum redact_action action,
			       struct bytes secret)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t hash[HASH_BYTES];
	if (action != REDACT_HASH || !redact_token_hash(t, secret, hash))
		return BYTES(REDACT_MASKED);
	memcpy(t->text, "[h:", 3);
	for (int i = 0; i < HASH_BYTES; i++) {
		t->text[3 + 2 * i] = digits[hash[i] >> 4];
		t->text[4 + 2 * i] = digits[hash[i] & 15];
	}
	t->text[REDACT_TOKEN - 1] = ']';
	return bytes_of(t->text, REDACT_TOKEN);
}
