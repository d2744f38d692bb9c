// SPDX-License-Identifier: Apache-2.0
package demo;

import org.apache.dubbo.common.stream.StreamObserver;

/** Streams of triple. */
public interface Flow {
	void watch(String token, StreamObserver<String> out);

	StreamObserver<String> talk(StreamObserver<String> out);
}
