// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"demo/peer/kitex_gen/echo"
	"demo/peer/kitex_gen/flows/streamservice"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/pkg/transmeta"
)

// TTHeader streaming.
type talker struct {
	*run
	c streamservice.Client
}

func (k *talker) ctx(token string) context.Context {
	return metainfo.WithValue(context.Background(), "DEMO_CALL", token)
}

func (k *talker) says(method, kind, outcome string, status int, text string) fields {
	f := fields{"method": method, "outcome": outcome, "status_code": status}
	if kind != "" {
		f["call_type"] = kind
	}
	if text != "" {
		f["status_text"] = text
	}
	return f
}

func (k *talker) upload() {
	t := k.token()
	ctx := k.ctx(t)
	s, err := k.c.Upload(ctx)
	must(err)
	req := request(t, kindPlain)
	for range 3 {
		must(s.Send(ctx, req))
	}
	r, err := s.CloseAndRecv(ctx)
	check(err == nil && r.Token == rp(t), "Upload", t, err)
	n := req.BLength()
	k.stream(t, rp(t), k.says("Upload", "client_stream", "OK", 0, ""),
		map[string][]int{"request": {n, n, n}, "response": {r.BLength()}})
}

func watchRequest(token string, kind int32, n int) *echo.Req {
	req := request(token, kind)
	req.Numbers = make([]int64, n)
	return req
}

// Receives what there is, checks each message, and gives its number and the error that ended it.
func drain(s interface {
	Recv(ctx context.Context) (*echo.Resp, error)
}, ctx context.Context, token string) (int, error) {
	for n := 0; ; n++ {
		r, err := s.Recv(ctx)
		if err != nil {
			return n, err
		}
		check(strings.HasPrefix(r.Token, rp(token)), "a message", token, nil)
	}
}

func (k *talker) watch() {
	t := k.token()
	ctx := k.ctx(t)
	req := watchRequest(t, kindPlain, 4)
	s, err := k.c.Watch(ctx, req)
	must(err)
	n, err := drain(s, ctx, t)
	check(n == 4 && errors.Is(err, io.EOF), "Watch", t, err)
	m := reply(req).BLength()
	k.stream(t, rp(t), k.says("Watch", "server_stream", "OK", 0, ""),
		map[string][]int{"request": {req.BLength()}, "response": {m, m, m, m}})
}

func (k *talker) watchBiz() {
	t := k.token()
	ctx := k.ctx(t)
	s, err := k.c.Watch(ctx, watchRequest(t, kindBiz, 2))
	must(err)
	n, err := drain(s, ctx, t)
	b, ok := kerrors.FromBizStatusError(err)
	check(n <= 2 && ok && b.BizStatusCode() == bizCode, "Watch biz", t, err)
	k.call(t, rp(t), k.says("Watch", "server_stream", "DECLARED_EXCEPTION", bizCode, "no stock for "+rp(t)))
}

func (k *talker) watchFail() {
	t := k.token()
	ctx := k.ctx(t)
	s, err := k.c.Watch(ctx, watchRequest(t, kindFail, 2))
	must(err)
	n, err := drain(s, ctx, t)
	check(n <= 2 && strings.Contains(err.Error(), rp(t)), "Watch failing", t, err)
	k.call(t, rp(t), k.says("Watch", "server_stream", "SERVER_ERROR", 6, ""))
}

func (k *talker) talk() {
	t := k.token()
	ctx := k.ctx(t)
	s, err := k.c.Talk(ctx)
	must(err)
	sizes := map[string][]int{}
	for i := range 3 {
		req := request(fmt.Sprintf("%s#%d", t, i), kindPlain)
		must(s.Send(ctx, req))
		r, err := s.Recv(ctx)
		check(err == nil && r.Token == fmt.Sprintf("%s#%d", rp(t), i), "Talk", t, err)
		sizes["request"] = append(sizes["request"], req.BLength())
		sizes["response"] = append(sizes["response"], r.BLength())
	}
	must(s.CloseSend(ctx))
	_, err = drain(s, ctx, t)
	check(errors.Is(err, io.EOF), "Talk", t, err)
	k.stream(t, rp(t), k.says("Talk", "bidi_stream", "OK", 0, ""), sizes)
}

// A cancelled stream ends by an Rst frame of the client.
func (k *talker) cancel() {
	t := k.token()
	ctx, cancel := context.WithCancel(k.ctx(t))
	s, err := k.c.Talk(ctx)
	must(err)
	for range 2 {
		must(s.Send(ctx, request(t, kindPlain)))
		_, err := s.Recv(ctx)
		check(err == nil, "Talk", t, err)
	}
	cancel()
	_, err = drain(s, ctx, t)
	check(!errors.Is(err, io.EOF), "Talk cancelled", t, err)
	k.call(t, rp(t), fields{"method": "Talk", "outcome": "ABORTED"})
}

var streamScenarios = map[string]func(*run, int){
	"ttstream": streamScenario(ttstream.WithClientMuxConnPool(ttstream.MuxConnConfig{PoolSize: 2})),
	"ttstream-long": streamScenario(ttstream.WithClientLongConnPool(
		ttstream.LongConnConfig{MaxIdleTimeout: time.Minute})),
	"ttstream-short": streamScenario(ttstream.WithClientShortConnPool()),
}

func streamScenario(pool ttstream.ClientHandlerOption) func(*run, int) {
	return func(r *run, port int) {
		r.base = fields{"protocol": "ttheader", "service": "StreamService"}
		k := &talker{run: r}
		k.c = streamservice.MustNewClient("StreamService",
			client.WithHostPorts(fmt.Sprintf("127.0.0.1:%d", port+portStream)),
			client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
			client.WithMetaHandler(transmeta.MetainfoClientHandler),
			client.WithTTHeaderStreamingOptions(client.WithTTHeaderStreamingTransportOptions(pool)))
		r.calls = []func(){k.upload, k.watch, k.watchBiz, k.watchFail, k.talk, k.talk, k.cancel}
	}
}
