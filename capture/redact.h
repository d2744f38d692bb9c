/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets never leave the process: values of well-known secret headers, cookies and query parameters read
 * "[redacted]"; a header whose name is unknown has its value redacted (record.md). Without memory: too much is. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "rpc/framer.h"

/* In place; headers that hold a request target or a URL (:path, referer, location) like redact_path. True when
 * anything was replaced. */
bool redact_headers(struct header *headers, size_t n, struct arena *arena);

/* Query parameters of a request target or URL, userinfo of an absolute one or an authority. *path is replaced by
 * a copy in the arena when something was. Linear in its length. */
bool redact_path(struct bytes *path, struct arena *arena);
