package main

import (
	"bytes"
	"context"
	"io"

	"github.com/dapr/go-sdk/client"
)

// cryptoCalls encrypts more than one segment and reads it back.
func cryptoCalls(ctx context.Context, dapr client.Client) error {
	plain := bytes.Repeat([]byte("a secret "), 20_000)
	options := client.EncryptOptions{ComponentName: "keys", KeyName: "rsa", KeyWrapAlgorithm: "RSA"}
	secret, err := dapr.Encrypt(ctx, bytes.NewReader(plain), options)
	if err != nil {
		return err
	}
	found, err := dapr.Decrypt(ctx, secret, client.DecryptOptions{ComponentName: "keys"})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(found)
	say("crypto", bytes.Equal(text, plain))
	return err
}
