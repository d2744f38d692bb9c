/* SPDX-License-Identifier: Apache-2.0 */
/* The version that records, --version and --help show: `git describe`, by the Makefile. */
#pragma once

#if __has_include("sidetap_version.h")
#include "sidetap_version.h"
#endif
#ifndef SIDETAP_VERSION
#define SIDETAP_VERSION "unknown"
#endif
