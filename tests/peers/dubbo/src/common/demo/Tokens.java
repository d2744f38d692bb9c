// SPDX-License-Identifier: Apache-2.0
package demo;

public class Tokens {
	/** The token of the reply to a request's. */
	public static String rp(String token) {
		return "rp" + token.substring(2);
	}
}
