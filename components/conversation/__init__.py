"""Conversation components: models that answer messages."""
