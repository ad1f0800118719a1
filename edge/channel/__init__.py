"""How the runtime calls an app: HTTP, gRPC, streams. Nothing of a protocol is imported before an app speaks it."""

from __future__ import annotations

from edge.app import App, AppChannel


def channel_for(app: App) -> AppChannel | None:
    """The channel to an app, opened without traffic; None when it has no port."""
    if not app.port:
        return None
    if app.protocol in ("grpc", "grpcs"):
        from edge.channel.grpc import GrpcChannel  # here the protocol is chosen

        return GrpcChannel(app)
    from edge.channel.http import HttpChannel  # here the protocol is chosen

    return HttpChannel(app)
