package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/workflow"
	"github.com/dapr/go-sdk/client"
)

func init() { programs["workflows"] = workflows }

var undone []string
var tries int

func addOne(ctx workflow.ActivityContext) (any, error) {
	var number int
	err := ctx.GetInput(&number)
	return number + 1, err
}

func flaky(workflow.ActivityContext) (any, error) {
	tries++
	if tries < 3 {
		return nil, errors.New("not yet")
	}
	return fmt.Sprintf("after %d", tries), nil
}

func book(ctx workflow.ActivityContext) (any, error) {
	var what string
	if err := ctx.GetInput(&what); err != nil {
		return nil, err
	}
	if what == "car" {
		return nil, errors.New("no car left")
	}
	return what, nil
}

func cancel(ctx workflow.ActivityContext) (any, error) {
	var what string
	err := ctx.GetInput(&what)
	undone = append(undone, what)
	return nil, err
}

func chain(ctx *workflow.WorkflowContext) (any, error) {
	var number int
	if err := ctx.GetInput(&number); err != nil {
		return nil, err
	}
	for range 5 {
		if err := ctx.CallActivity(addOne, workflow.WithActivityInput(number)).Await(&number); err != nil {
			return nil, err
		}
	}
	return number, nil
}

func fan(ctx *workflow.WorkflowContext) (any, error) {
	var tasks []workflow.Task
	for n := range 100 {
		tasks = append(tasks, ctx.CallActivity(addOne, workflow.WithActivityInput(n)))
	}
	sum := 0
	for _, one := range tasks {
		var number int
		if err := one.Await(&number); err != nil {
			return nil, err
		}
		sum += number
	}
	return sum, nil
}

func monitor(ctx *workflow.WorkflowContext) (any, error) {
	var left int
	if err := ctx.GetInput(&left); err != nil {
		return nil, err
	}
	if left == 0 {
		return "healthy", nil
	}
	if err := ctx.CreateTimer(5 * time.Millisecond).Await(nil); err != nil {
		return nil, err
	}
	ctx.ContinueAsNew(left - 1)
	return nil, nil
}

func approval(ctx *workflow.WorkflowContext) (any, error) {
	var timeout time.Duration
	if err := ctx.GetInput(&timeout); err != nil {
		return nil, err
	}
	var decision string
	if err := ctx.WaitForExternalEvent("decision", timeout).Await(&decision); err != nil {
		return "too late", nil
	}
	return decision, nil
}

func saga(ctx *workflow.WorkflowContext) (any, error) {
	var done []string
	for _, what := range []string{"flight", "hotel", "car"} {
		if err := ctx.CallActivity(book, workflow.WithActivityInput(what)).Await(nil); err != nil {
			for at := len(done) - 1; at >= 0; at-- {
				if err := ctx.CallActivity(cancel, workflow.WithActivityInput(done[at])).Await(nil); err != nil {
					return nil, err
				}
			}
			return "undone", nil
		}
		done = append(done, what)
	}
	return "booked", nil
}

func parent(ctx *workflow.WorkflowContext) (any, error) {
	var number int
	err := ctx.CallChildWorkflow(chain, workflow.WithChildWorkflowInput(10)).Await(&number)
	return number, err
}

func retrying(ctx *workflow.WorkflowContext) (any, error) {
	policy := &workflow.RetryPolicy{MaxAttempts: 5, InitialRetryInterval: 10 * time.Millisecond}
	var result string
	err := ctx.CallActivity(flaky, workflow.WithActivityRetryPolicy(policy)).Await(&result)
	return result, err
}

func workflows(ctx context.Context) error {
	registry := workflow.NewRegistry()
	for _, one := range []workflow.Workflow{chain, fan, monitor, approval, saga, parent, retrying} {
		if err := registry.AddWorkflow(one); err != nil {
			return err
		}
	}
	for _, one := range []workflow.Activity{addOne, flaky, book, cancel} {
		if err := registry.AddActivity(one); err != nil {
			return err
		}
	}
	hub, err := client.NewWorkflowClient()
	if err != nil {
		return err
	}
	if err := hub.StartWorker(ctx, registry); err != nil {
		return err
	}
	if err := patterns(ctx, hub); err != nil {
		return err
	}
	return life(ctx, hub)
}

func patterns(ctx context.Context, hub *workflow.Client) error {
	for _, one := range []struct {
		name  string
		input any
	}{{"chain", 1}, {"fan", nil}, {"monitor", 200}, {"approval", 50 * time.Millisecond}, {"saga", nil}, {"parent", nil}, {"retrying", nil}} {
		id, err := hub.ScheduleWorkflow(ctx, one.name, workflow.WithInput(one.input))
		if err != nil {
			return err
		}
		if err := sayOutcome(ctx, hub, one.name, id); err != nil {
			return err
		}
	}
	say("undone", undone)
	id, err := hub.ScheduleWorkflow(ctx, "approval", workflow.WithInput(time.Minute))
	if err != nil {
		return err
	}
	if err := hub.RaiseEvent(ctx, id, "decision", workflow.WithEventPayload("yes")); err != nil {
		return err
	}
	return sayOutcome(ctx, hub, "approved", id)
}

func life(ctx context.Context, hub *workflow.Client) error {
	id, err := hub.ScheduleWorkflow(ctx, "approval", workflow.WithInput(time.Minute), workflow.WithInstanceID("life"))
	if err != nil {
		return err
	}
	if _, err := hub.WaitForWorkflowStart(ctx, id); err != nil {
		return err
	}
	if err := hub.SuspendWorkflow(ctx, id, "a break"); err != nil {
		return err
	}
	state, err := hub.FetchWorkflowMetadata(ctx, id)
	if err != nil {
		return err
	}
	say("paused", state.String())
	if err := hub.ResumeWorkflow(ctx, id, ""); err != nil {
		return err
	}
	if err := hub.TerminateWorkflow(ctx, id, workflow.WithOutput("enough")); err != nil {
		return err
	}
	if err := sayOutcome(ctx, hub, "terminated", id); err != nil {
		return err
	}
	if err := hub.PurgeWorkflowState(ctx, id); err != nil {
		return err
	}
	_, err = hub.FetchWorkflowMetadata(ctx, id)
	say("purged", fmt.Sprint(err))
	return nil
}

func sayOutcome(ctx context.Context, hub *workflow.Client, step, id string) error {
	state, err := hub.WaitForWorkflowCompletion(ctx, id, workflow.WithFetchPayloads(true))
	if err != nil {
		return err
	}
	var output any
	if text := state.Output.GetValue(); text != "" {
		if err := json.Unmarshal([]byte(text), &output); err != nil {
			return err
		}
	}
	say(step, []any{state.String(), output})
	return nil
}
