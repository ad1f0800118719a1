"""Crypto providers: keys that do not leave them."""
