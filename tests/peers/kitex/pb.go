// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"demo/peer/kitex_gen/pb"
	"demo/peer/kitex_gen/pb/pbservice"
	"demo/peer/kitex_gen/pb/pbstream"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/transport"
)

// Kitex Protobuf (always in TTHeaderFramed) and gRPC, unary.
type asker struct {
	*run
	grpc bool
	c    pbservice.Client
}

func ask(token string) *pb.Ask {
	return &pb.Ask{Token: token, Pad: pad(token)}
}

func size(m interface {
	Marshal(in []byte) ([]byte, error)
}) int {
	out, err := m.Marshal(nil)
	must(err)
	return len(out)
}

func (a *asker) says(method string, f fields) fields {
	f["method"] = method
	f["call_type"] = "unary"
	if a.grpc {
		f["path"] = "/pb.PbService/" + method
	}
	return f
}

func (a *asker) echo() {
	t := a.token()
	req := ask(t)
	r, err := a.c.Echo(context.Background(), req)
	check(err == nil && r.Token == rp(t), "Echo", t, err)
	envelope := 16 // version, type, name's length, "Echo", seq
	if a.grpc {
		envelope = 0
	}
	a.call(t, rp(t), a.says("Echo", fields{"outcome": "OK", "status_code": 0,
		"request.body_bytes": envelope + size(req), "response.body_bytes": envelope + size(r)}))
}

func (a *asker) fail() {
	t := a.token()
	_, err := a.c.Fail(context.Background(), ask(t))
	check(err != nil && strings.Contains(err.Error(), rp(t)), "Fail", t, err)
	if a.grpc {
		a.call(t, rp(t), a.says("Fail", fields{"outcome": "SERVER_ERROR", "status_code": 13}))
		return
	}
	a.call(t, rp(t), a.says("Fail", fields{"outcome": "SERVER_ERROR", "status_code": 6,
		"status_text": "biz error: broken on " + rp(t)}))
}

func (a *asker) biz() {
	t := a.token()
	_, err := a.c.Biz(context.Background(), ask(t))
	b, ok := kerrors.FromBizStatusError(err)
	check(ok && b.BizStatusCode() == bizCode && b.BizExtra()["shelf"] == rp(t), "Biz", t, err)
	if a.grpc {
		a.call(t, rp(t), a.says("Biz", fields{"outcome": "SERVER_ERROR", "status_code": 13}))
		return
	}
	a.call(t, rp(t), a.says("Biz", fields{"outcome": "DECLARED_EXCEPTION", "status_code": bizCode,
		"status_text": "no stock for " + rp(t)}))
}

func pbUnary(grpc bool) func(*run, int) {
	return func(r *run, port int) {
		m := manner{how: transport.TTHeaderFramed, header: true}
		r.base = fields{"protocol": "kitex_protobuf", "service": "PbService"}
		if grpc {
			m.how = transport.GRPC
			r.base = fields{"protocol": "grpc", "service": "pb.PbService"}
		}
		a := &asker{run: r, grpc: grpc}
		a.c = pbservice.MustNewClient("PbService", m.options(port+portPb)...)
		r.calls = []func(){a.echo, a.echo, a.echo, a.fail, a.biz}
	}
}

// gRPC streams.
type pbTalker struct {
	*run
	c pbstream.Client
}

func (p *pbTalker) says(method, kind, outcome string, status int) fields {
	return fields{"method": method, "path": "/pb.PbStream/" + method, "call_type": kind,
		"outcome": outcome, "status_code": status}
}

func (p *pbTalker) unary() {
	t := p.token()
	r, err := p.c.Unary(context.Background(), ask(t))
	check(err == nil && r.Token == rp(t), "Unary", t, err)
	p.call(t, rp(t), p.says("Unary", "unary", "OK", 0))
}

func (p *pbTalker) upload() {
	ctx, t := context.Background(), p.token()
	s, err := p.c.Upload(ctx)
	must(err)
	req := ask(t)
	for range 3 {
		must(s.Send(ctx, req))
	}
	r, err := s.CloseAndRecv(ctx)
	check(err == nil && r.Token == rp(t), "Upload", t, err)
	n := size(req)
	p.stream(t, rp(t), p.says("Upload", "client_stream", "OK", 0),
		map[string][]int{"request": {n, n, n}, "response": {size(r)}})
}

func (p *pbTalker) watch() {
	ctx, t := context.Background(), p.token()
	req := ask(t)
	s, err := p.c.Watch(ctx, req)
	must(err)
	sizes := map[string][]int{"request": {size(req)}}
	for {
		r, err := s.Recv(ctx)
		if err == io.EOF {
			break
		}
		check(err == nil && r.Token == rp(t), "Watch", t, err)
		sizes["response"] = append(sizes["response"], size(r))
	}
	check(len(sizes["response"]) == 3, "Watch", t, nil)
	p.stream(t, rp(t), p.says("Watch", "server_stream", "OK", 0), sizes)
}

func (p *pbTalker) talk() {
	ctx, t := context.Background(), p.token()
	s, err := p.c.Talk(ctx)
	must(err)
	sizes := map[string][]int{}
	for i := range 3 {
		req := ask(fmt.Sprintf("%s#%d", t, i))
		must(s.Send(ctx, req))
		r, err := s.Recv(ctx)
		check(err == nil && strings.HasPrefix(r.Token, rp(t)), "Talk", t, err)
		sizes["request"] = append(sizes["request"], size(req))
		sizes["response"] = append(sizes["response"], size(r))
	}
	must(s.CloseSend(ctx))
	_, err = s.Recv(ctx)
	check(err == io.EOF, "Talk", t, err)
	p.stream(t, rp(t), p.says("Talk", "bidi_stream", "OK", 0), sizes)
}

var pbScenarios = map[string]func(*run, int){
	"protobuf": pbUnary(false),
	"grpc":     pbUnary(true),
	"grpc-stream": func(r *run, port int) {
		r.base = fields{"protocol": "grpc", "service": "pb.PbStream"}
		m := manner{how: transport.GRPC, header: true}
		p := &pbTalker{run: r}
		p.c = pbstream.MustNewClient("PbStream", m.options(port+portPbStream)...)
		r.calls = []func(){p.unary, p.upload, p.watch, p.talk, p.talk}
	},
}
