package main

import (
	"context"
	"os"

	"github.com/dapr/go-sdk/client"
)

func init() { programs["invoke"] = invokeProgram }

// invokeProgram calls apps behind another sidecar.
func invokeProgram(ctx context.Context) error {
	dapr, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer dapr.Close()
	content := &client.DataContent{ContentType: "text/plain", Data: []byte("plum")}
	for _, app := range []string{"cellar", "attic"} {
		answer, err := dapr.InvokeMethodWithContent(ctx, app, "jam", "post", content)
		if err != nil {
			return err
		}
		say(app, string(answer))
	}
	_, err = dapr.InvokeMethod(ctx, "nobody", "jam", "get")
	say("nobody", failure(err))
	return nil
}
