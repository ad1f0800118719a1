"""Message types of Dapr's gRPC APIs, compiled from protos/ by packaging/protos: one module per .proto file."""
