"""Programs written with the released Dapr SDKs, run against a real sidecar, each language in its folder.

A program gets APP_PORT, DAPR_HTTP_PORT and DAPR_GRPC_PORT, serves its app, does its steps and ends; it prints a JSON line per step,
`{"step": "…", "saw": …}`, and the test compares these. Packages come with `packaging/sdk` into .cache/sdk (`make test` does that).
"""
