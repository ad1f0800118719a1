"""Components in other processes, in any language: Dapr's gRPC protocol over unix sockets, asked by reflection what they are."""

from components._pluggable.discovery import discover

__all__ = ["discover"]
