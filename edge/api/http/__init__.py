"""Dapr's HTTP API: decode, call a block, encode."""
