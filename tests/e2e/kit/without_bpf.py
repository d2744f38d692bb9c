# SPDX-License-Identifier: Apache-2.0
"""Runs a command under a seccomp filter that answers EPERM to bpf(2): without_bpf.py COMMAND..."""

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
BPF_NR = {"x86_64": 321, "aarch64": 280}


def main():
    nr = BPF_NR[platform.machine()]
    # ld nr; jeq nr, 0, 1; ret EPERM; ret ALLOW (linux/filter.h, linux/seccomp.h)
    code = b"".join(struct.pack("HBBI", *i) for i in (
        (0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, 0x00050000 | errno.EPERM),
        (0x06, 0, 0, 0x7fff0000)))
    array = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", 4, ctypes.addressof(array))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
            PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program), 0, 0):
        sys.exit("seccomp: errno %d" % ctypes.get_errno())
    os.execvp(sys.argv[1], sys.argv[1:])


main()
