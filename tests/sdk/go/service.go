package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	grpcservice "github.com/dapr/go-sdk/service/grpc"
	httpservice "github.com/dapr/go-sdk/service/http"
)

func init() {
	programs["service-grpc"] = func(ctx context.Context) error {
		server, err := grpcservice.NewService(address())
		if err != nil {
			return err
		}
		return serve(ctx, server)
	}
	programs["service-http"] = func(ctx context.Context) error { return serve(ctx, httpservice.NewService(address())) }
}

// taken is what the service was given.
type taken struct {
	sync.Mutex
	events []string
	tries  int
	bound  int
}

func (t *taken) note(event string) {
	t.Lock()
	defer t.Unlock()
	t.events = append(t.events, event)
}

// arrived waits for count events and says them.
func (t *taken) arrived(step string, count int) {
	for {
		t.Lock()
		if len(t.events) >= count {
			slices.Sort(t.events)
			say(step, t.events)
			t.events = nil
			t.Unlock()
			return
		}
		t.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}

func text(data any) string {
	found, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return string(found)
}

func subscribe(server common.Service, seen *taken) error {
	handle := func(name string, retry, failed bool) func(context.Context, *common.TopicEvent) (bool, error) {
		return func(_ context.Context, event *common.TopicEvent) (bool, error) {
			if retry {
				seen.Lock()
				seen.tries++
				again := seen.tries < 3
				seen.Unlock()
				if again {
					return true, os.ErrDeadlineExceeded
				}
			}
			seen.note(name + " " + text(event.Data))
			if failed {
				return false, os.ErrInvalid
			}
			return false, nil
		}
	}
	for _, one := range []struct {
		subscription common.Subscription
		handler      func(context.Context, *common.TopicEvent) (bool, error)
	}{
		{common.Subscription{PubsubName: "pubsub", Topic: "plain", Route: "/plain"}, handle("plain", false, false)},
		{common.Subscription{PubsubName: "pubsub", Topic: "dead", Route: "/dead"}, handle("dead", false, false)},
		{common.Subscription{PubsubName: "pubsub", Topic: "fickle", Route: "/fickle"}, handle("fickle", true, false)},
		{common.Subscription{PubsubName: "pubsub", Topic: "unwanted", Route: "/unwanted", DeadLetterTopic: "dead"}, handle("unwanted", false, true)},
		{common.Subscription{PubsubName: "pubsub", Topic: "routed", Route: "/other"}, handle("other", false, false)},
		{common.Subscription{PubsubName: "pubsub", Topic: "routed", Route: "/big", Match: `event.type == "big"`, Priority: 1}, handle("big", false, false)},
	} {
		if err := server.AddTopicEventHandler(&one.subscription, one.handler); err != nil {
			return err
		}
	}
	return nil
}

func serve(ctx context.Context, server common.Service) error {
	seen := &taken{}
	if err := subscribe(server, seen); err != nil {
		return err
	}
	if err := server.AddBindingInvocationHandler("ticker", func(context.Context, *common.BindingEvent) ([]byte, error) {
		seen.Lock()
		defer seen.Unlock()
		seen.bound++
		return nil, nil
	}); err != nil {
		return err
	}
	if err := server.AddServiceInvocationHandler("/echo", func(_ context.Context, event *common.InvocationEvent) (*common.Content, error) {
		return &common.Content{Data: append([]byte("echo "), event.Data...), ContentType: event.ContentType}, nil
	}); err != nil {
		return err
	}
	go func() {
		if err := server.Start(); err != nil && err != http.ErrServerClosed {
			panic(err)
		}
	}()
	dapr, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer dapr.Close()
	for {
		metadata, err := dapr.GetMetadata(ctx)
		if err != nil {
			return err
		}
		if len(metadata.Subscriptions) >= 5 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return deliveries(ctx, dapr, seen)
}

func deliveries(ctx context.Context, dapr client.Client, seen *taken) error {
	for n := range 5 {
		if err := dapr.PublishEvent(ctx, "pubsub", "plain", map[string]int{"n": n}); err != nil {
			return err
		}
	}
	seen.arrived("plain", 5)
	for _, topic := range []string{"fickle", "unwanted"} {
		if err := dapr.PublishEvent(ctx, "pubsub", topic, topic); err != nil {
			return err
		}
	}
	seen.arrived("again and dead", 3)
	say("tries", seen.tries)
	big := client.PublishEventWithMetadata(map[string]string{"cloudevent.type": "big"})
	if err := dapr.PublishEvent(ctx, "pubsub", "routed", "r", big); err != nil {
		return err
	}
	if err := dapr.PublishEvent(ctx, "pubsub", "routed", "r"); err != nil {
		return err
	}
	seen.arrived("routed", 2)
	answer, err := dapr.InvokeMethodWithContent(ctx, "sdk", "echo", "post", &client.DataContent{ContentType: "text/plain", Data: []byte("hello")})
	if err != nil {
		return err
	}
	say("invoked", strings.TrimSpace(string(answer)))
	for seen.bound == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	say("bound", true)
	return nil
}
