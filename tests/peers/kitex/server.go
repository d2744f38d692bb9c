// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"demo/peer/kitex_gen/echo"
	"demo/peer/kitex_gen/echo/echoservice"
	"demo/peer/kitex_gen/flows"
	"demo/peer/kitex_gen/flows/streamservice"
	"demo/peer/kitex_gen/pb"
	"demo/peer/kitex_gen/pb/pbservice"
	"demo/peer/kitex_gen/pb/pbstream"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
)

const bizCode = 4017

func biz(token string) error {
	return kerrors.NewBizStatusErrorWithExtra(bizCode, "no stock for "+rp(token),
		map[string]string{"shelf": rp(token)})
}

type echoImpl struct{}

func reply(req *echo.Req) *echo.Resp {
	r := &echo.Resp{Token: rp(req.Token), Blob: req.Blob, Big: int64(req.Kind) << 33}
	for _, in := range req.Inners {
		r.Inners = append(r.Inners, in)
	}
	return r
}

func (echoImpl) Echo(ctx context.Context, req *echo.Req) (*echo.Resp, error) {
	metainfo.SendBackwardValue(ctx, "served_for", rp(req.Token))
	time.Sleep(time.Duration(req.WaitMs) * time.Millisecond)
	switch req.Kind {
	case kindRefused:
		return nil, &echo.Refused{Token: rp(req.Token), Reason: 7}
	case kindBusy:
		return nil, &echo.Busy{Token: rp(req.Token)}
	}
	return reply(req), nil
}

func (echoImpl) Name(ctx context.Context, token string) (string, error) {
	return "name of " + rp(token), nil
}
func (echoImpl) Touch(ctx context.Context, token string) error {
	metainfo.SendBackwardValue(ctx, "served_for", rp(token))
	return nil
}
func (echoImpl) Note(ctx context.Context, req *echo.Req) error { return nil }

func (echoImpl) Fail(ctx context.Context, req *echo.Req) (*echo.Resp, error) {
	return nil, errors.New("broken on " + rp(req.Token))
}

func (echoImpl) Biz(ctx context.Context, req *echo.Req) (*echo.Resp, error) {
	return nil, biz(req.Token)
}

var slowDone sync.Map

func (echoImpl) Slow(ctx context.Context, req *echo.Req) (*echo.Resp, error) {
	time.Sleep(time.Duration(req.WaitMs) * time.Millisecond)
	slowDone.Store(rp(req.Token), true)
	return reply(req), nil
}

// Settled answers once Slow has returned for the second token, and its reply had time to be written.
func (echoImpl) Settled(ctx context.Context, token, slow string) (string, error) {
	for {
		if _, ok := slowDone.LoadAndDelete(slow); ok {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	return "settled " + rp(token), nil
}

type streamImpl struct{}

func (streamImpl) Upload(ctx context.Context, s flows.StreamService_UploadServer) error {
	last := &echo.Req{}
	for {
		req, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(ctx, reply(last))
		} else if err != nil {
			return err
		}
		last = req
	}
}

// Kinds end a stream in the ways that there are, after the messages they were asked for.
func ending(kind int32, token string) error {
	switch kind {
	case kindBiz:
		return biz(token)
	case kindFail:
		return errors.New("broken on " + rp(token))
	}
	return nil
}

func (streamImpl) Watch(ctx context.Context, req *echo.Req, s flows.StreamService_WatchServer) error {
	for i := range req.Numbers {
		r := reply(req)
		r.Big = int64(i)
		if err := s.Send(ctx, r); err != nil {
			return err
		}
		time.Sleep(time.Duration(req.WaitMs) * time.Millisecond)
	}
	return ending(req.Kind, req.Token)
}

func (streamImpl) Talk(ctx context.Context, s flows.StreamService_TalkServer) error {
	for {
		req, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if req.Kind != 0 {
			return ending(req.Kind, req.Token)
		}
		if err := s.Send(ctx, reply(req)); err != nil {
			return err
		}
	}
}

func (streamImpl) Single(ctx context.Context, req *echo.Req) (*echo.Resp, error) {
	return reply(req), nil
}

type pbImpl struct{}

func answer(ask *pb.Ask) *pb.Answer {
	return &pb.Answer{Token: rp(ask.Token), Blob: []byte(ask.Pad)}
}

func (pbImpl) Echo(ctx context.Context, ask *pb.Ask) (*pb.Answer, error) {
	time.Sleep(time.Duration(ask.WaitMs) * time.Millisecond)
	return answer(ask), nil
}

func (pbImpl) Fail(ctx context.Context, ask *pb.Ask) (*pb.Answer, error) {
	return nil, errors.New("broken on " + rp(ask.Token))
}

func (pbImpl) Biz(ctx context.Context, ask *pb.Ask) (*pb.Answer, error) {
	return nil, biz(ask.Token)
}

type pbStreamImpl struct{}

func (pbStreamImpl) Unary(ctx context.Context, ask *pb.Ask) (*pb.Answer, error) {
	switch ask.Kind {
	case kindBiz:
		return nil, biz(ask.Token)
	case kindFail:
		return nil, errors.New("broken on " + rp(ask.Token))
	}
	return answer(ask), nil
}

func (pbStreamImpl) Upload(ctx context.Context, s pb.PbStream_UploadServer) error {
	last := &pb.Ask{}
	for {
		ask, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(ctx, answer(last))
		} else if err != nil {
			return err
		}
		last = ask
	}
}

func (pbStreamImpl) Watch(ctx context.Context, ask *pb.Ask, s pb.PbStream_WatchServer) error {
	for i := 0; i < 3; i++ {
		if err := s.Send(ctx, answer(ask)); err != nil {
			return err
		}
	}
	return ending(ask.Kind, ask.Token)
}

func (pbStreamImpl) Talk(ctx context.Context, s pb.PbStream_TalkServer) error {
	for {
		ask, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if ask.Kind != 0 {
			return ending(ask.Kind, ask.Token)
		}
		if err := s.Send(ctx, answer(ask)); err != nil {
			return err
		}
	}
}

func serverOptions(port int) []server.Option {
	addr, err := net.ResolveTCPAddr("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(err)
	return []server.Option{
		server.WithServiceAddr(addr),
		server.WithMetaHandler(transmeta.ServerTTHeaderHandler),
		server.WithMetaHandler(transmeta.MetainfoServerHandler),
		server.WithExitWaitTime(0),
	}
}

func serve(port int) {
	servers := []server.Server{
		portEcho: echoservice.NewServer(&echoImpl{}, serverOptions(port+portEcho)...),
		portEchoMux: echoservice.NewServer(&echoImpl{},
			append(serverOptions(port+portEchoMux), server.WithMuxTransport())...),
		portStream:   streamservice.NewServer(&streamImpl{}, serverOptions(port+portStream)...),
		portPb:       pbservice.NewServer(&pbImpl{}, serverOptions(port+portPb)...),
		portPbStream: pbstream.NewServer(&pbStreamImpl{}, serverOptions(port+portPbStream)...),
	}
	failed := make(chan error)
	for _, s := range servers {
		go func() { failed <- s.Run() }()
	}
	must(<-failed)
}
