// SPDX-License-Identifier: Apache-2.0
package demo;

public class Refused extends Exception {
	public Refused(String message) {
		super(message);
	}
}
