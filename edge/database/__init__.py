"""One SQLite file: durable writes by one thread with group commit, point reads on the loop, scans beside it."""

from edge.database.connection import Options
from edge.database.database import Database
from edge.database.faults import Damaged, Newer
from edge.database.writer import Statement, Unit

__all__ = ["Damaged", "Database", "Newer", "Options", "Statement", "Unit"]
