// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var conn *grpc.ClientConn

func check(ok bool, what any) {
	if !ok {
		log.Fatalf("not as it should be: %v", what)
	}
}

func within(d time.Duration) context.Context {
	ctx, _ := context.WithTimeout(context.Background(), d) //nolint: a call's own
	return ctx
}

func ask(ctx context.Context, method, s string, options ...grpc.CallOption) (string, error) {
	reply := &text{}
	err := conn.Invoke(ctx, "/peer.go.Echo/"+method, &text{Value: s}, reply, options...)
	return reply.Value, err
}

func open(ctx context.Context, method string) grpc.ClientStream {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/peer.go.Echo/"+method)
	must(err)
	return s
}

func unaryCalls() {
	var all sync.WaitGroup
	calls := 24
	if os.Getenv("PEER_GOLDEN") != "" {
		calls = 8
	}
	for i := range calls {
		all.Go(func() {
			token := newToken()
			ctx := metadata.AppendToOutgoingContext(within(20*time.Second), "x-token", token, "x-data-bin", "\x00\xff"+token)
			s := filler(token, 20+i*17)
			r, err := ask(ctx, "Unary", s)
			check(err == nil && r == swap(s), err)
			say(line{Token: token, Reply: replyOf(token), Request: wire(s), Answer: wire(r),
				Expect: want("Unary", 0, "unary", expect{"request.headers.x-token": token,
					"request.headers.x-data-bin":   base64.RawStdEncoding.EncodeToString([]byte("\x00\xff" + token)),
					"request.headers.content-type": "application/grpc", "response.trailers.grpc-status": "0"})})
		})
	}
	all.Wait()
	token := newToken()
	s := strings.Repeat(token, 30)
	r, err := ask(within(20*time.Second), "Gzip", s, grpc.UseCompressor(gzip.Name))
	check(err == nil && r == swap(s), err)
	say(line{Token: token, Reply: replyOf(token), Expect: want("Gzip", 0, "unary", expect{"flags": []string{"compressed"}})})
}

func collect(s grpc.ClientStream) (sizes []int, err error) {
	for {
		m := &text{}
		if err = s.RecvMsg(m); err != nil {
			return sizes, err
		}
		sizes = append(sizes, len(wire(m.Value)))
	}
}

// Sends all, then reads all.
func talk(method, kind string, code int, out []string, more expect) {
	token := tokenOf(out[0])
	s := open(within(20*time.Second), method)
	var sent []int
	for _, m := range out {
		must(s.SendMsg(&text{Value: m}))
		sent = append(sent, len(wire(m)))
	}
	must(s.CloseSend())
	got, err := collect(s)
	check(err == io.EOF || int(status.Code(err)) == code, err)
	say(line{Token: token, Reply: replyOf(token), Expect: want(method, code, kind, more),
		Stream: map[string][]int{"request": sent, "response": got}})
}

func streamCalls() {
	talk("ServerStream", "server_stream", 0, []string{newToken()}, nil)
	talk("ClientStream", "client_stream", 0, []string{newToken(), "a", "", strings.Repeat("b", 500)}, nil)
	token := newToken()
	talk("Bidi", "bidi_stream", 0, []string{token + "1", token + "2", token + "3"}, nil)
}

func errorCalls() {
	for code := 1; code <= 16; code++ {
		token := newToken()
		_, err := ask(within(20*time.Second), "Fail", fmt.Sprintf("%d %s", code, token))
		check(int(status.Code(err)) == code && status.Convert(err).Message() == details(token, code), err)
		say(line{Token: token, Reply: replyOf(token), Expect: want("Fail", code, "unary",
			expect{"status_text": details(token, code), "response.headers.grpc-status": strconv.Itoa(code)})})
	}
	for _, code := range []int{2, 9, 14} {
		token := newToken()
		talk("FailLate", "server_stream", code, []string{fmt.Sprintf("%d %s", code, token)},
			expect{"status_text": details(token, code), "response.trailers.grpc-status": strconv.Itoa(code)})
	}
	token := newToken()
	s := open(within(20*time.Second), "Early")
	must(s.SendMsg(&text{Value: token}))
	err := s.RecvMsg(&text{})
	check(status.Code(err) == codes.PermissionDenied, err)
	say(line{Token: token, Reply: replyOf(token), Expect: want("Early", 7, "unary", nil)})
	token = newToken()
	_, err = ask(metadata.AppendToOutgoingContext(within(20*time.Second), "x-token", token), "Missing", token)
	check(status.Code(err) == codes.Unimplemented, err)
	say(line{Token: token, Expect: want("Missing", 12, "unary", nil)})
}

func cutCalls() {
	token := newToken()
	ctx, cancel := context.WithCancel(context.Background())
	s := open(ctx, "Cancel")
	must(s.SendMsg(&text{Value: token}))
	must(s.RecvMsg(&text{}))
	cancel()
	check(status.Code(s.RecvMsg(&text{})) == codes.Canceled, "cancel")
	say(line{Token: token, Reply: replyOf(token), Expect: want("Cancel", 0, "unary",
		expect{"outcome": "ABORTED", "attributes.rst_code": "8", "attributes.rst_by": "client"})})
	token = newToken()
	_, err := ask(within(100*time.Millisecond), "Deadline", token)
	check(status.Code(err) == codes.DeadlineExceeded, err)
	say(line{Token: token, Expect: want("Deadline", 0, "unary", deadlineWant()), Allowed: []string{"no_response"}})
	unaryCalls() // and the connection goes on
}

func headerCalls() {
	for range 3 {
		token := newToken()
		big := strings.Repeat("h", 20000)
		ctx := metadata.AppendToOutgoingContext(within(20*time.Second), "x-big", big, "x-token", token)
		var trailer metadata.MD
		_, err := ask(ctx, "Headers", token, grpc.Trailer(&trailer))
		check(err == nil && len(trailer["x-last-big"][0]) == 20000, err)
		say(line{Token: token, Reply: replyOf(token), Expect: want("Headers", 0, "unary", expect{
			"request.headers.x-big": big, "response.headers.x-big": strings.Repeat("v", 20000),
			"response.trailers.x-last-big": strings.Repeat("w", 20000), "response.trailers.x-last-bin": "AAH/"})})
	}
}

func largeCalls() {
	for _, n := range []int{60000, 650000, 1000000, 2500000} {
		token := newToken()
		s := filler(token, n)
		r, err := ask(within(20*time.Second), "Large", s)
		check(err == nil, err)
		e := expect{"request.body_bytes": len(wire(s)), "response.body_bytes": len(wire(r))}
		if n > 1<<20 {
			e["flags"] = []string{"truncated"}
		}
		say(line{Token: token, Reply: replyOf(token), Expect: want("Large", 0, "unary", e),
			Request: wire(s)[:min(len(wire(s)), 1<<20)], Answer: wire(r)[:min(len(wire(r)), 1<<20)]})
	}
	talk("LargeStream", "server_stream", 0, []string{newToken()}, nil)
}

func client(kinds []string) func() {
	var err error
	conn, err = grpc.NewClient("passthrough:///"+hop, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	must(err)
	conn.Connect()
	all := map[string]func(){"unary": unaryCalls, "streams": streamCalls, "errors": errorCalls, "cut": cutCalls,
		"headers": headerCalls, "large": largeCalls,
		"long": func() { talk("Long", "server_stream", 0, []string{newToken()}, nil) }}
	return func() {
		for _, k := range kinds {
			all[k]()
		}
	}
}
