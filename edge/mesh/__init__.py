"""Calls between sidecars: hosted apps of this daemon, other sidecars on the network, HTTP endpoints, and who may call whom."""
