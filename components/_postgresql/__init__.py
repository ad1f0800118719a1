"""What the PostgreSQL components share: Dapr's connection fields, the pool (package `asyncpg`, imported on first use), its errors."""

from components._postgresql.fields import PostgresFields
from components._postgresql.pool import Pool

__all__ = ["Pool", "PostgresFields"]
