"""Lock stores."""
