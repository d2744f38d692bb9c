// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	_ "google.golang.org/grpc/encoding/gzip"
)

func swap(s string) string { return strings.ReplaceAll(s, tokenOf(s), *replyOf(tokenOf(s))) }

func told(in *text, method string, code int, kind string, more expect, allowed ...string) {
	token := tokenOf(in.Value)
	say(line{Token: token, Reply: replyOf(token), Expect: want(method, code, kind, more), Allowed: allowed})
}

// A status with the text and details (grpc-status-details-bin) of this code.
func failure(in *text) (int, error) {
	code, err := strconv.Atoi(strings.Fields(in.Value)[0])
	must(err)
	s, err := status.New(codes.Code(code), details(tokenOf(in.Value), code)).WithDetails(&text{Value: "detail"})
	must(err)
	return code, s.Err()
}

func unary(name string, ctx context.Context, in *text) (*text, error) {
	out := &text{Value: swap(in.Value)}
	switch name {
	case "Gzip":
		must(grpc.SetSendCompressor(ctx, "gzip"))
		told(in, name, 0, "unary", expect{"flags": []string{"compressed"}})
	case "Fail":
		code, err := failure(in)
		told(in, name, code, "unary", expect{"status_text": details(tokenOf(in.Value), code)})
		return nil, err
	case "Deadline":
		say(line{Token: tokenOf(in.Value), Expect: want(name, 0, "unary", deadlineWant()), Allowed: []string{"no_response"}})
		<-ctx.Done()
		return nil, ctx.Err()
	case "Large":
		n := len(wire(in.Value))
		e := expect{"request.body_bytes": n}
		if n > 1<<20 {
			e["flags"] = []string{"truncated"}
		}
		told(in, name, 0, "unary", e)
		return &text{Value: filler(*replyOf(tokenOf(in.Value)), len(in.Value))}, nil
	case "Headers":
		told(in, name, 0, "unary", nil)
		must(grpc.SendHeader(ctx, metadata.Pairs("x-big", strings.Repeat("v", 20000), "x-first", *replyOf(tokenOf(in.Value)))))
		must(grpc.SetTrailer(ctx, metadata.Pairs("x-last-big", strings.Repeat("w", 20000), "x-last-bin", "\x00\x01\xff")))
	default:
		told(in, name, 0, "unary", nil)
	}
	return out, nil
}

func out(ss grpc.ServerStream, s string) error { return ss.SendMsg(&text{Value: s}) }

func stream(name string, ss grpc.ServerStream) error {
	in := &text{}
	if err := ss.RecvMsg(in); err != nil {
		return err
	}
	token := tokenOf(in.Value)
	switch name {
	case "ServerStream":
		told(in, name, 0, "server_stream", nil)
		for i := range 5 {
			must(out(ss, fmt.Sprintf("%d %s", i, *replyOf(token))))
		}
	case "ClientStream":
		told(in, name, 0, "client_stream", nil)
		for ss.RecvMsg(in) == nil {
		}
		return out(ss, *replyOf(token))
	case "Bidi":
		told(in, name, 0, "bidi_stream", nil)
		for ok := true; ok; ok = ss.RecvMsg(in) == nil {
			if err := out(ss, swap(in.Value)); err != nil {
				return err
			}
		}
	case "FailLate":
		code, err := failure(in)
		told(in, name, code, "server_stream", expect{"status_text": details(token, code)})
		must(out(ss, *replyOf(token)))
		must(out(ss, "two"))
		return err
	case "Early": // the status while the client still sends
		told(in, name, 7, "unary", nil)
		return status.Error(codes.PermissionDenied, *replyOf(token))
	case "Cancel":
		told(in, name, 0, "", expect{"outcome": "ABORTED", "call_type": anyOf("bidi_stream", "unary")})
		must(out(ss, *replyOf(token)))
		<-ss.Context().Done()
		return ss.Context().Err()
	case "LargeStream":
		told(in, name, 0, "server_stream", nil)
		must(out(ss, *replyOf(token)))
		for i := range 8 {
			must(out(ss, filler(strconv.Itoa(i), 250000)))
		}
	case "Long":
		told(in, name, 0, "server_stream", nil)
		must(out(ss, *replyOf(token)))
		for i := range 2500 {
			must(out(ss, strconv.Itoa(i)))
		}
	}
	return nil
}

func description() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: "peer.go.Echo", HandlerType: (*any)(nil)}
	for _, name := range []string{"Unary", "Gzip", "Fail", "Deadline", "Large", "Headers"} {
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context,
			decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &text{}
			if err := decode(in); err != nil {
				return nil, err
			}
			return unary(name, ctx, in)
		}})
	}
	for _, name := range []string{"ServerStream", "ClientStream", "Bidi", "FailLate", "Early", "Cancel", "LargeStream", "Long"} {
		d.Streams = append(d.Streams, grpc.StreamDesc{StreamName: name, ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, ss grpc.ServerStream) error { return stream(name, ss) }})
	}
	return d
}

func serve(aging bool) {
	var options []grpc.ServerOption
	if aging { // GOAWAY, again and again, under load
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 200 * time.Millisecond}))
	}
	options = append(options, grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(ss.Context())
		say(line{Token: md.Get("x-token")[0], Expect: want("Missing", 12, "unary", nil)})
		return status.Error(codes.Unimplemented, "no such method")
	}))
	s := grpc.NewServer(options...)
	s.RegisterService(description(), nil)
	l, err := net.Listen("tcp", hop)
	must(err)
	must(s.Serve(l))
}
