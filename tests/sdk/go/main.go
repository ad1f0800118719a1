// The programs that tests/sdk runs with the released Go SDK; the first argument says which. Each prints what it saw as JSON lines.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

var programs = map[string]func(context.Context) error{}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := programs[os.Args[1]](ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var saying sync.Mutex

// say prints one line of the report: what the program saw at a step.
func say(step string, value any) {
	saying.Lock()
	defer saying.Unlock()
	text, err := json.Marshal(map[string]any{"step": step, "saw": value})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func address() string { return "127.0.0.1:" + os.Getenv("APP_PORT") }
