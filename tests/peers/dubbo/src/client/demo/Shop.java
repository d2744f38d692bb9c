// SPDX-License-Identifier: Apache-2.0
package demo;

/** Shop as the clients know it: newer than the server. */
public interface Shop extends ShopBase {
	/** The server has no such method. */
	String missing(String token);
}
