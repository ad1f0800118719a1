package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dapr/go-sdk/actor"
	"github.com/dapr/go-sdk/client"
	service "github.com/dapr/go-sdk/service/http"
)

func init() { programs["actors"] = actors }

// Tank is an actor that keeps a level; ticks and reminders go to the channels.
type Tank struct {
	actor.ServerImplBaseCtx
	seen *seen
}

type seen struct {
	sync.Mutex
	inside, most int
	ticks        chan string
	reminders    chan string
}

func (t *Tank) Type() string { return "Tank" }

func (t *Tank) Add(ctx context.Context, amount int) (int, error) {
	level := 0
	if has, err := t.GetStateManager().Contains(ctx, "level"); err != nil {
		return 0, err
	} else if has {
		if err := t.GetStateManager().Get(ctx, "level", &level); err != nil {
			return 0, err
		}
	}
	return level + amount, t.GetStateManager().Set(ctx, "level", level+amount)
}

func (t *Tank) Slow(ctx context.Context) (string, error) {
	t.seen.Lock()
	t.seen.inside++
	t.seen.most = max(t.seen.most, t.seen.inside)
	t.seen.Unlock()
	time.Sleep(20 * time.Millisecond)
	t.seen.Lock()
	t.seen.inside--
	t.seen.Unlock()
	return "done", nil
}

func (t *Tank) Burst(ctx context.Context) (string, error) { return "", errors.New("the tank burst") }

func (t *Tank) Tick(ctx context.Context, data string) error {
	t.seen.ticks <- data
	return nil
}

func (t *Tank) ReminderCall(name string, data []byte, due string, period string) {
	t.seen.reminders <- name + " " + string(data)
}

type stub struct {
	id    string
	Add   func(context.Context, int) (int, error)
	Slow  func(context.Context) (string, error)
	Burst func(context.Context) (string, error)
}

func (s *stub) Type() string { return "Tank" }
func (s *stub) ID() string   { return s.id }

func actors(ctx context.Context) error {
	watched := &seen{ticks: make(chan string, 99), reminders: make(chan string, 99)}
	server := service.NewService(address())
	server.RegisterActorImplFactoryContext(func() actor.ServerContext { return &Tank{seen: watched} })
	go func() {
		if err := server.Start(); err != nil && !strings.Contains(err.Error(), "closed") {
			panic(err)
		}
	}()
	dapr, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer dapr.Close()
	rain := &stub{id: "rain"}
	dapr.ImplActorClientStub(rain)
	for _, amount := range []int{2, 3} {
		level, err := rain.Add(ctx, amount)
		if err != nil {
			return err
		}
		say("level", level)
	}
	state, err := dapr.GetActorState(ctx, &client.GetActorStateRequest{ActorType: "Tank", ActorID: "rain", KeyName: "level"})
	if err != nil {
		return err
	}
	say("state", string(state.Data))
	_, err = dapr.InvokeActor(ctx, &client.InvokeActorRequest{ActorType: "Tank", ActorID: "rain", Method: "Burst"})
	say("failure", err.Error())

	var calls sync.WaitGroup
	for range 5 {
		calls.Add(1)
		go func() {
			defer calls.Done()
			if _, err := rain.Slow(ctx); err != nil {
				panic(err)
			}
		}()
	}
	calls.Wait()
	say("most at once", watched.most)
	return times(ctx, dapr, watched)
}

func times(ctx context.Context, dapr client.Client, watched *seen) error {
	timer := client.RegisterActorTimerRequest{
		ActorType: "Tank", ActorID: "rain", Name: "drip", DueTime: "20ms", Period: "20ms", Data: []byte(`"drop"`), CallBack: "Tick",
	}
	if err := dapr.RegisterActorTimer(ctx, &timer); err != nil {
		return err
	}
	for range 3 {
		say("tick", <-watched.ticks)
	}
	if err := dapr.UnregisterActorTimer(ctx, &client.UnregisterActorTimerRequest{ActorType: "Tank", ActorID: "rain", Name: "drip"}); err != nil {
		return err
	}
	reminder := client.RegisterActorReminderRequest{
		ActorType: "Tank", ActorID: "rain", Name: "check", DueTime: "20ms", Period: "20ms", Data: []byte(`"look"`),
	}
	if err := dapr.RegisterActorReminder(ctx, &reminder); err != nil {
		return err
	}
	for range 3 {
		say("reminder", <-watched.reminders)
	}
	return dapr.UnregisterActorReminder(ctx, &client.UnregisterActorReminderRequest{ActorType: "Tank", ActorID: "rain", Name: "check"})
}
