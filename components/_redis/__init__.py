"""What the Redis components share: Dapr's connection fields, the client (package `redis`, imported on first use), its errors."""

from components._redis.client import Client
from components._redis.fields import RedisFields

__all__ = ["Client", "RedisFields"]
