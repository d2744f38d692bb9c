/* SPDX-License-Identifier: Apache-2.0 */
/* "SCHEME:SPEC": what sinks and sources are named by. */
#pragma once
#include <string.h>

/* The SPEC of a uri with this scheme; NULL: it has another one, or none. */
static inline const char *scheme_spec(const char *uri, const char *scheme)
{
	size_t n = strlen(scheme);
	return strncmp(uri, scheme, n) == 0 && uri[n] == ':' ? uri + n + 1 : NULL;
}
