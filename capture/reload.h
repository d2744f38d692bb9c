/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches a configuration file: replaced by rename, rewritten, or reached through symlinks that are swapped
 * (Kubernetes mounts a ConfigMap as FILE -> ..data/FILE, and renames a new ..data over the old one).
 *
 * inotify on the directory of the path and on that of the file it leads to tells at once; the file's identity
 * (device, inode, size, times), looked at once a second, tells where inotify cannot (an exotic file system, a
 * symlink in the middle). A file that is being written in place is read when its writer closes it, or when it was
 * the same for a second. No I/O but these; reading it is the caller's.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct reload;

/* path is copied. What it is now counts as known. NULL: no memory. */
struct reload *reload_open(const char *path);
void reload_close(struct reload *r);

int reload_fd(const struct reload *r); /* readable: ask reload_changed(); -1: no inotify here */

/*
 * Is there something new to read? Call it when reload_fd() is readable, and once a second with tick. True at most
 * once for each state of the file: what it is at this moment is known from here on, so a change while the caller
 * reads it is told again. A file that is gone is no change.
 */
bool reload_changed(struct reload *r, bool tick);
