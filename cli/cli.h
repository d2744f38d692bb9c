/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands. argv[0] is the subcommand's name; each has its own --help. Result is the exit
 * code: 0 done, 1 ran and failed, 2 wrong usage or configuration, 3 nothing could attach.
 */
#pragma once

int cli_capture(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_ledger(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_ctl(int argc, char **argv);
