package main

import (
	"context"
	"errors"

	"github.com/dapr/go-sdk/service/common"
	grpcservice "github.com/dapr/go-sdk/service/grpc"
)

func init() { programs["barn"] = barnProgram }

// barnProgram is an app with the Go SDK's gRPC service that is only called.
func barnProgram(context.Context) error {
	server, err := grpcservice.NewService(address())
	if err != nil {
		return err
	}
	echo := func(_ context.Context, event *common.InvocationEvent) (*common.Content, error) {
		asked := text([]string{"barn", event.Verb, event.QueryString, string(event.Data), event.ContentType})
		return &common.Content{Data: []byte(asked), ContentType: "application/json"}, nil
	}
	if err := server.AddServiceInvocationHandler("/echo", echo); err != nil {
		return err
	}
	fail := func(context.Context, *common.InvocationEvent) (*common.Content, error) {
		return nil, errors.New("no hay")
	}
	if err := server.AddServiceInvocationHandler("/fail", fail); err != nil {
		return err
	}
	return server.Start()
}
