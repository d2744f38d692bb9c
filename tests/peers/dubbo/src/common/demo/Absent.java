// SPDX-License-Identifier: Apache-2.0
package demo;

/** A service that nobody offers. */
public interface Absent {
	String touch(String token);
}
