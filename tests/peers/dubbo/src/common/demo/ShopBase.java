// SPDX-License-Identifier: Apache-2.0
package demo;

import java.util.concurrent.CompletableFuture;

/** What both sides know of Shop: each has a Shop of its own. */
public interface ShopBase {
	String touch(String token);

	Item look(Item item, int count, long big, double weight, boolean on);

	void tidy(String token);

	/** Called one-way. */
	void note(Item item);

	String refuse(String token) throws Refused;

	String broken(String token);

	CompletableFuture<String> later(String token, int ms);

	String slow(String token, int ms);

	/** Answers once slow has returned for the second token on the server. */
	String settled(String token, String slow);
}
