package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	service "github.com/dapr/go-sdk/service/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

func init() { programs["jobs"] = jobs }

func jobs(ctx context.Context) error {
	fired := make(chan string, 99)
	server, err := service.NewService(address())
	if err != nil {
		return err
	}
	if err := server.AddJobEventHandler("water", func(_ context.Context, event *common.JobEvent) error {
		fired <- event.JobType + " " + string(event.Data)
		return nil
	}); err != nil {
		return err
	}
	tries := 0
	if err := server.AddJobEventHandler("stubborn", func(context.Context, *common.JobEvent) error {
		tries++
		if tries < 3 {
			return errors.New("not yet")
		}
		fired <- "stubborn"
		return nil
	}); err != nil {
		return err
	}
	go func() {
		if err := server.Start(); err != nil {
			panic(err)
		}
	}()
	dapr, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer dapr.Close()

	data := &anypb.Any{TypeUrl: "type.example.com/litres", Value: []byte("three")}
	water := client.NewJob("water", client.WithJobSchedule("@every 50ms"), client.WithJobRepeats(3), client.WithJobData(data))
	if err := dapr.ScheduleJobAlpha1(ctx, water); err != nil {
		return err
	}
	for range 3 {
		say("fired", <-fired)
	}
	stubborn := client.NewJob("stubborn", client.WithJobDueTime("0s"), client.WithJobConstantFailurePolicyInterval(20*time.Millisecond))
	if err := dapr.ScheduleJobAlpha1(ctx, stubborn); err != nil {
		return err
	}
	say("fired", <-fired)
	say("tries", tries)
	return manage(ctx, dapr)
}

func manage(ctx context.Context, dapr client.Client) error {
	later := client.NewJob("later", client.WithJobSchedule("@daily"), client.WithJobRepeats(4), client.WithJobTTL("48h"), client.WithJobDropFailurePolicy())
	if err := dapr.ScheduleJobAlpha1(ctx, later); err != nil {
		return err
	}
	say("again", dapr.ScheduleJobAlpha1(ctx, later).Error())
	job, err := dapr.GetJobAlpha1(ctx, "later")
	if err != nil {
		return err
	}
	_, drops := job.FailurePolicy.(*client.JobFailurePolicyDrop)
	say("job", map[string]any{"name": job.Name, "schedule": *job.Schedule, "repeats": *job.Repeats, "ttl": *job.TTL, "drops": drops})
	if err := dapr.DeleteJobAlpha1(ctx, "later"); err != nil {
		return err
	}
	_, err = dapr.GetJobAlpha1(ctx, "later")
	say("gone", err.Error())
	return nil
}
