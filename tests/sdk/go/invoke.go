package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func init() { programs["invoke"] = invokeProgram }

// invokeProgram calls apps behind other sidecars: InvokeService, the app's own gRPC service, and bodies piece by piece.
func invokeProgram(ctx context.Context) error {
	dapr, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer dapr.Close()
	content := &client.DataContent{ContentType: "text/plain", Data: []byte("plum")}
	answer := func(app, method, verb string) any {
		out, err := dapr.InvokeMethodWithContent(ctx, app, method, verb, content)
		if err != nil {
			return failure(err)
		}
		return string(out)
	}
	for _, verb := range []string{"post", "put", "delete"} {
		say(verb, answer("larder", "echo/a", verb))
	}
	read, err := dapr.InvokeMethod(ctx, "larder", "echo/a", "get")
	if err != nil {
		return err
	}
	say("get", string(read))
	say("shed", answer("shed", "echo", "delete"))
	say("loft", answer("loft", "echo", "post"))
	say("barn", answer("barn", "echo", "post"))
	for _, code := range []string{"404", "418", "503"} {
		say(code, answer("larder", "status/"+code, "post"))
	}
	say("app fails", answer("barn", "fail", "post"))
	say("nobody", answer("nobody", "jam", "get"))
	if err := proxied(ctx, dapr.GrpcClientConn()); err != nil {
		return err
	}
	return streamed(ctx)
}

func proxied(ctx context.Context, conn *grpc.ClientConn) error {
	to := metadata.AppendToOutgoingContext(ctx, "dapr-app-id", "loft", "x-jar", "small")
	one := func(ctx context.Context, fruit string) any {
		out := &wrapperspb.StringValue{}
		if err := conn.Invoke(ctx, "/jars.Jars/One", wrapperspb.String(fruit), out); err != nil {
			return failure(err)
		}
		return out.Value
	}
	say("proxied one", one(to, "plum"))
	for _, kind := range []struct {
		method         string
		client, server bool
	}{{"Many", false, true}, {"All", true, false}, {"Chat", true, true}} {
		stream, err := conn.NewStream(to, &grpc.StreamDesc{ClientStreams: kind.client, ServerStreams: kind.server}, "/jars.Jars/"+kind.method)
		if err != nil {
			return err
		}
		fruits := []string{"plum"}
		if kind.client {
			fruits = append(fruits, "pear")
		}
		for _, fruit := range fruits {
			if err := stream.SendMsg(wrapperspb.String(fruit)); err != nil {
				return err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		found := []string{}
		for {
			out := &wrapperspb.StringValue{}
			if err := stream.RecvMsg(out); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
			found = append(found, out.Value)
			if !kind.server {
				break
			}
		}
		say("proxied "+strings.ToLower(kind.method), found)
	}
	say("proxied failure", one(to, "stone"))
	say("proxied unknown app", one(metadata.AppendToOutgoingContext(ctx, "dapr-app-id", "nobody"), "plum"))
	return nil
}

func larder(ctx context.Context, verb, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, verb, "http://127.0.0.1:"+os.Getenv("DAPR_HTTP_PORT")+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("dapr-app-id", "larder")
	return http.DefaultClient.Do(request)
}

func whole(response *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// streamed sends a piece only when the one before arrived at the other side: what is collected on the way would never come.
func streamed(ctx context.Context) error {
	drip, err := larder(ctx, "GET", "/drip", nil)
	if err != nil {
		return err
	}
	pieces := []string{drip.Status}
	for number := range 3 {
		piece := make([]byte, 6)
		if _, err := io.ReadFull(drip.Body, piece); err != nil {
			return err
		}
		pieces = append(pieces, string(piece))
		if number < 2 {
			whole(larder(ctx, "POST", "/more", nil))
		}
	}
	say("pieces down", pieces)
	out, in := io.Pipe()
	go func() {
		for number := range 3 {
			if _, err := in.Write(make([]byte, 70000)); err != nil {
				return
			}
			for {
				came, err := strconv.Atoi(whole(larder(ctx, "GET", "/came/go", nil)))
				if err != nil || came >= 70000*(number+1) {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		in.Close()
	}()
	say("pieces up", whole(larder(ctx, "PUT", "/upload/go", out)))
	return nil
}
