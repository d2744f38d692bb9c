# SPDX-License-Identifier: Apache-2.0
"""Peers, oracle and runner of the end-to-end tests; Python's standard library only."""
