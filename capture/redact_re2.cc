// SPDX-License-Identifier: Apache-2.0
#include "capture/redact_re2.h"

#include <re2/re2.h>

#include <cstdio>
#include <new>

// Of one pattern's automata, which grow with what they meet
static const int64_t kMemoryMax = 4 << 20;

struct redact_re2 {
	RE2 re;
	redact_re2(re2::StringPiece pattern, const RE2::Options &o) : re(pattern, o) {}
};

struct redact_re2 *redact_re2_new(const char *pattern, size_t n, char *err, size_t err_n)
{
	try {
		RE2::Options o(RE2::Latin1);
		o.set_dot_nl(true);
		o.set_log_errors(false);
		o.set_max_mem(kMemoryMax);
		auto *re = new redact_re2(re2::StringPiece(pattern, n), o);
		if (re->re.ok())
			return re;
		snprintf(err, err_n, "%s", re->re.error().c_str());
		delete re;
	} catch (...) {
		snprintf(err, err_n, "no memory");
	}
	return nullptr;
}

void redact_re2_free(struct redact_re2 *re)
{
	delete re;
}

int redact_re2_empty(const struct redact_re2 *re)
{
	return re->re.Match("", 0, 0, RE2::ANCHOR_BOTH, nullptr, 0);
}

int redact_re2_any(const struct redact_re2 *re, const uint8_t *p, size_t n)
{
	re2::StringPiece text(reinterpret_cast<const char *>(p), n);
	return re->re.Match(text, 0, n, RE2::UNANCHORED, nullptr, 0);
}

int redact_re2_next(const struct redact_re2 *re, const uint8_t *p, size_t n, size_t *at,
		    size_t *from, size_t *to)
try {
	re2::StringPiece text(reinterpret_cast<const char *>(p), n), found[2];
	int groups = re->re.NumberOfCapturingGroups() > 0 ? 2 : 1;
	if (!re->re.Match(text, *at, n, RE2::UNANCHORED, found, groups))
		return 0;
	size_t begin = static_cast<size_t>(found[0].data() - text.data());
	size_t end = begin + found[0].size();
	*at = end > *at ? end : *at + 1;
	*from = begin;
	*to = end;
	if (groups == 2 && found[1].data() != nullptr && !found[1].empty()) {
		*from = static_cast<size_t>(found[1].data() - text.data());
		*to = *from + found[1].size();
	}
	return 1;
} catch (...) {
	return -1;
}
