package main

import (
	"context"
	"encoding/json"
	"os"
	"sort"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/status"
)

func init() { programs["client"] = clientProgram }

const store = "statestore"

// failure is how a call fails: the code and the text of its status.
func failure(err error) []string {
	if err == nil {
		return []string{"no error"}
	}
	found := status.Convert(err)
	return []string{found.Code().String(), found.Message()}
}

func clientProgram(ctx context.Context) error {
	dapr, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer dapr.Close()
	for _, part := range []func(context.Context, client.Client) error{stateCalls, otherCalls, cryptoCalls} {
		if err := part(ctx, dapr); err != nil {
			return err
		}
	}
	return nil
}

func stateCalls(ctx context.Context, dapr client.Client) error {
	if err := dapr.SaveState(ctx, store, "greeting", []byte("hello"), nil); err != nil {
		return err
	}
	item, err := dapr.GetState(ctx, store, "greeting", nil)
	if err != nil {
		return err
	}
	say("get", []any{string(item.Value), item.Etag != ""})
	first := &client.StateOptions{Concurrency: client.StateConcurrencyFirstWrite, Consistency: client.StateConsistencyStrong}
	say("wrong etag", failure(dapr.SaveStateWithETag(ctx, store, "greeting", []byte("x"), "7", nil, func(o *client.StateOptions) { *o = *first })))
	operations := []*client.StateOperation{
		{Type: client.StateOperationTypeUpsert, Item: &client.SetStateItem{Key: "a", Value: []byte("1")}},
		{Type: client.StateOperationTypeDelete, Item: &client.SetStateItem{Key: "greeting"}},
	}
	if err := dapr.ExecuteStateTransaction(ctx, store, nil, operations); err != nil {
		return err
	}
	items, err := dapr.GetBulkState(ctx, store, []string{"a", "greeting"}, nil, 2)
	if err != nil {
		return err
	}
	sort.Slice(items, func(i, j int) bool { return items[i].Key < items[j].Key })
	say("transaction", []string{items[0].Key, string(items[0].Value), string(items[1].Value)})
	say("deleted", failure(dapr.DeleteState(ctx, store, "a", nil)))
	_, err = dapr.GetState(ctx, "nowhere", "k", nil)
	say("no store", failure(err))
	return nil
}

func otherCalls(ctx context.Context, dapr client.Client) error {
	secret, err := dapr.GetSecret(ctx, "secrets", "mqtt", nil)
	if err != nil {
		return err
	}
	say("secret", secret)
	all, err := dapr.GetBulkSecret(ctx, "secrets", nil)
	if err != nil {
		return err
	}
	say("secrets", all)
	request := &client.InvokeBindingRequest{Name: "files", Operation: "create", Data: []byte("some text!"), Metadata: map[string]string{"fileName": "note.txt"}}
	if _, err := dapr.InvokeBinding(ctx, request); err != nil {
		return err
	}
	request.Operation, request.Data = "get", nil
	read, err := dapr.InvokeBinding(ctx, request)
	if err != nil {
		return err
	}
	say("read", string(read.Data))
	say("published", failure(dapr.PublishEvent(ctx, "pubsub", "t", map[string]int{"a": 1})))
	say("bulk published", len(dapr.PublishEvents(ctx, "pubsub", "t", []any{"a", "b"}).FailedEvents))
	say("no pubsub", failure(dapr.PublishEvent(ctx, "nowhere", "t", "x")))
	lock, err := dapr.TryLockAlpha1(ctx, "locks", &client.LockRequest{LockOwner: "ann", ResourceID: "door", ExpiryInSeconds: 60})
	if err != nil {
		return err
	}
	unlock, err := dapr.UnlockAlpha1(ctx, "locks", &client.UnlockRequest{LockOwner: "bob", ResourceID: "door"})
	if err != nil {
		return err
	}
	say("lock", []any{lock.Success, unlock.Status})
	return configurationCalls(ctx, dapr)
}

func configurationCalls(ctx context.Context, dapr client.Client) error {
	items, err := dapr.GetConfigurationItems(ctx, "settings", []string{"colour", "size"})
	if err != nil {
		return err
	}
	say("configuration", []string{items["colour"].Value, items["size"].Value})
	changed := make(chan string, 9)
	within, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	id, err := dapr.SubscribeConfigurationItems(within, "settings", []string{"colour"}, func(_ string, items map[string]*client.ConfigurationItem) {
		for key, item := range items {
			changed <- key + " " + item.Value
		}
	})
	if err != nil {
		return err
	}
	say("unsubscribed", failure(dapr.UnsubscribeConfigurationItems(ctx, "settings", id)))
	metadata, err := dapr.GetMetadata(ctx)
	if err != nil {
		return err
	}
	names := []string{}
	for _, component := range metadata.RegisteredComponents {
		names = append(names, component.Name)
	}
	sort.Strings(names)
	text, err := json.Marshal(names)
	say("components", string(text))
	return err
}
