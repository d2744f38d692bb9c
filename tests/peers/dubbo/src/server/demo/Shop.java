// SPDX-License-Identifier: Apache-2.0
package demo;

/** Shop as the server knows it. */
public interface Shop extends ShopBase {
}
