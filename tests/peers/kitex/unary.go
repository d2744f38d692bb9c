// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"demo/peer/kitex_gen/echo"
	"demo/peer/kitex_gen/echo/echoservice"
	"demo/peer/kitex_gen/later"
	lateservice "demo/peer/kitex_gen/later/echoservice"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/transport"
)

var _ later.EchoService // the generated package is used through its client only

// How an echo client speaks; header: with the handlers that fill the transport header.
type manner struct {
	protocol  string
	transport string
	reset     bool // PurePayload first: without it Kitex adds Framed to every transport
	how       transport.Protocol
	header    bool
	mux       bool
	short     bool
}

func (m manner) options(port int) []client.Option {
	o := []client.Option{client.WithHostPorts(fmt.Sprintf("127.0.0.1:%d", port))}
	if m.reset {
		o = append(o, client.WithTransportProtocol(transport.PurePayload))
	}
	o = append(o, client.WithTransportProtocol(m.how))
	if m.header {
		o = append(o, client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
			client.WithMetaHandler(transmeta.MetainfoClientHandler))
	}
	switch {
	case m.mux:
		o = append(o, client.WithMuxConnection(2))
	case m.short:
		o = append(o, client.WithShortConnection())
	default:
		o = append(o, client.WithLongConnection(connpool.IdleConfig{
			MaxIdlePerAddress: 16, MaxIdleGlobal: 16, MaxIdleTimeout: time.Minute}))
	}
	return o
}

// The callers of one manner.
type echoer struct {
	*run
	manner
	c     echoservice.Client
	newer lateservice.Client
}

func (e *echoer) ctx(token string) context.Context {
	ctx := context.Background()
	if e.header {
		ctx = metainfo.WithValue(ctx, "DEMO_CALL", token)
		ctx = metainfo.WithPersistentValue(ctx, "DEMO_USER", "user of "+token)
		ctx = metainfo.WithBackwardValues(ctx)
	}
	return ctx
}

func request(token string, kind int32) *echo.Req {
	pad := pad(token)
	return &echo.Req{Token: token, Kind: kind, Pad: &pad, Numbers: []int64{1, -2, 1 << 40},
		Shorts: []int16{3, 4}, Blob: []byte{0, 1, 0x80, 0xff},
		Inners: map[string]*echo.Inner{"a": {Name: "inner", Weight: 0.5}, "b": {Name: "other"}}}
}

func (e *echoer) says(method, call, outcome string, status int, text string) fields {
	f := fields{"method": method, "call_type": call, "outcome": outcome, "status_code": status}
	if text != "" {
		f["status_text"] = text
	}
	return f
}

func (e *echoer) ok(method string) fields { return e.says(method, "unary", "OK", 0, "") }

type sized interface{ BLength() int }

// with adds the sizes of the bodies: the envelope of strict binary (version, name, seq) and the struct.
func with(f fields, args, result sized) fields {
	envelope := 12 + len(f["method"].(string))
	f["request.body_bytes"] = envelope + args.BLength()
	if result != nil {
		f["response.body_bytes"] = envelope + result.BLength()
	}
	return f
}

func (e *echoer) headers(f fields, token string) fields {
	if e.header {
		f["request.headers.RPC_TRANSIT_DEMO_CALL"] = token
		f["request.headers.RPC_PERSIST_DEMO_USER"] = "user of " + token
	}
	if e.protocol == "ttheader" {
		f["response.headers.served_for"] = rp(token)
	}
	return f
}

// What a void reply or a business error carries of the token: only the transport header's.
func (e *echoer) inHeader(token string) string {
	if e.protocol == "ttheader" {
		return rp(token)
	}
	return ""
}

func (e *echoer) echo() {
	t := e.token()
	req := request(t, kindPlain)
	r, err := e.c.Echo(e.ctx(t), req)
	check(err == nil && r.Token == rp(t), "Echo", t, err)
	e.call(t, rp(t), e.headers(with(e.ok("Echo"), &echo.EchoServiceEchoArgs{Req: req},
		&echo.EchoServiceEchoResult{Success: r}), t))
}

// Late ones among quick ones: over mux their replies come out of order.
func (e *echoer) later() {
	t := e.token()
	req := request(t, kindPlain)
	req.WaitMs = 25
	r, err := e.c.Echo(e.ctx(t), req)
	check(err == nil && r.Token == rp(t), "Echo", t, err)
	e.call(t, rp(t), e.ok("Echo"))
}

func (e *echoer) name() {
	t := e.token()
	r, err := e.c.Name(e.ctx(t), t)
	check(err == nil && r == "name of "+rp(t), "Name", t, err)
	e.call(t, rp(t), with(e.ok("Name"), &echo.EchoServiceNameArgs{Token: t},
		&echo.EchoServiceNameResult{Success: &r}))
}

func (e *echoer) touch() {
	t := e.token()
	err := e.c.Touch(e.ctx(t), t)
	check(err == nil, "Touch", t, err)
	e.call(t, e.inHeader(t), e.headers(with(e.ok("Touch"), &echo.EchoServiceTouchArgs{Token: t},
		&echo.EchoServiceTouchResult{}), t))
}

func (e *echoer) note() {
	t := e.token()
	req := request(t, kindPlain)
	err := e.c.Note(e.ctx(t), req)
	check(err == nil, "Note", t, err)
	f := with(e.says("Note", "oneway", "OK", 0, ""), &echo.EchoServiceNoteArgs{Req: req}, nil)
	f["response"] = nil
	e.call(t, "", f)
}

func (e *echoer) refused() {
	t := e.token()
	req := request(t, kindRefused)
	_, err := e.c.Echo(e.ctx(t), req)
	var refused *echo.Refused
	check(errors.As(err, &refused) && refused.Token == rp(t), "Echo refused", t, err)
	e.call(t, rp(t), e.headers(with(e.says("Echo", "unary", "DECLARED_EXCEPTION", 0, ""),
		&echo.EchoServiceEchoArgs{Req: req}, &echo.EchoServiceEchoResult{Refused: refused}), t))
}

func (e *echoer) busy() {
	t := e.token()
	_, err := e.c.Echo(e.ctx(t), request(t, kindBusy))
	var busy *echo.Busy
	check(errors.As(err, &busy) && busy.Token == rp(t), "Echo busy", t, err)
	e.call(t, rp(t), e.says("Echo", "unary", "DECLARED_EXCEPTION", 0, ""))
}

func (e *echoer) fail() {
	t := e.token()
	_, err := e.c.Fail(e.ctx(t), request(t, kindPlain))
	check(err != nil && strings.Contains(err.Error(), rp(t)), "Fail", t, err)
	e.call(t, rp(t), e.says("Fail", "unary", "SERVER_ERROR", 6, "biz error: broken on "+rp(t)))
}

// Without a transport header a business error is an empty result: not to be told from void.
func (e *echoer) biz() {
	t := e.token()
	_, err := e.c.Biz(e.ctx(t), request(t, kindPlain))
	if e.protocol != "ttheader" {
		e.call(t, "", e.ok("Biz"))
		return
	}
	b, ok := kerrors.FromBizStatusError(err)
	check(!e.header || ok && b.BizStatusCode() == bizCode && b.BizExtra()["shelf"] == rp(t), "Biz", t, err)
	e.call(t, rp(t), e.says("Biz", "unary", "DECLARED_EXCEPTION", bizCode, "no stock for "+rp(t)))
}

func (e *echoer) missing() {
	t := e.token()
	_, err := e.newer.Missing(e.ctx(t), request(t, kindPlain))
	check(err != nil, "Missing", t, err)
	if e.header { // the service is named, and has no such method
		e.call(t, "", e.says("Missing", "unary", "SERVER_ERROR", 1,
			"unknown method Missing (service EchoService)"))
		return
	}
	e.call(t, "", e.says("Missing", "unary", "SERVER_ERROR", 20, "unknown service , method Missing"))
}

// Waits until the server is done with a Slow that was given up.
func (e *echoer) settled(slow string) {
	t := e.token()
	r, err := e.c.Settled(e.ctx(t), t, slow)
	check(err == nil && r == "settled "+rp(t), "Settled", t, err)
	e.call(t, rp(t), e.ok("Settled"))
}

// Over mux the connection lives on and the reply comes late; else the client closes it at once.
func (e *echoer) timeout() {
	t := e.token()
	req := request(t, kindPlain)
	req.WaitMs = 150
	_, err := e.c.Slow(e.ctx(t), req, callopt.WithRPCTimeout(50*time.Millisecond))
	check(errors.Is(err, kerrors.ErrRPCTimeout), "Slow", t, err)
	e.settled(rp(t))
	if e.mux {
		e.call(t, rp(t), e.ok("Slow"))
		return
	}
	e.call(t, "", e.says("Slow", "unary", "NO_RESPONSE", 0, ""))
}

func echoScenario(m manner) func(*run, int) {
	return func(r *run, port int) {
		at := port + portEcho
		if m.mux {
			at = port + portEchoMux
		}
		r.base = fields{"protocol": m.protocol, "transport": m.transport}
		if m.header {
			r.base["service"] = "EchoService"
		}
		e := &echoer{run: r, manner: m}
		e.c = echoservice.MustNewClient("EchoService", m.options(at)...)
		e.newer = lateservice.MustNewClient("EchoService", m.options(at)...)
		r.calls = []func(){e.echo, e.echo, e.later, e.name, e.touch, e.refused, e.busy, e.fail, e.biz,
			e.note, e.missing, e.timeout}
	}
}

var scenarios = map[string]func(*run, int){
	"ttheader": echoScenario(manner{protocol: "ttheader", transport: "unframed+binary",
		reset: true, how: transport.TTHeader, header: true}),
	"ttheader-framed": echoScenario(manner{protocol: "ttheader", transport: "framed+binary",
		how: transport.TTHeaderFramed, header: true}),
	"ttheader-bare": echoScenario(manner{protocol: "ttheader", transport: "framed+binary",
		how: transport.TTHeaderFramed}),
	"ttheader-short": echoScenario(manner{protocol: "ttheader", transport: "unframed+binary",
		reset: true, how: transport.TTHeader, header: true, short: true}),
	"ttheader-mux": echoScenario(manner{protocol: "ttheader", transport: "unframed+mux+binary",
		reset: true, how: transport.TTHeader, header: true, mux: true}),
	"framed": echoScenario(manner{protocol: "thrift", transport: "framed+binary",
		how: transport.Framed}),
	"unframed": echoScenario(manner{protocol: "thrift", transport: "unframed+binary",
		how: transport.PurePayload}),
}

func init() {
	maps.Copy(scenarios, pbScenarios)
	maps.Copy(scenarios, streamScenarios)
}
