"""How the runtime calls an app: HTTP, gRPC, streams. Nothing of a protocol is imported before an app speaks it."""
