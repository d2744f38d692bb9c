/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of control: a UNIX socket at a path, placed so that nobody else can slip in (C6). */
#pragma once
#include <stddef.h>

/* Bound, mode 0600, not yet listening; its path in out (CONTROL_PATH_MAX + 1 bytes). path NULL: in the default
 * directory. -errno with one line in err. */
int control_path_bind(const char *path, char *out, char *err, size_t err_n);
