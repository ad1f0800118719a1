"""HTTP middleware: `middleware.http.*`, parts of the pipelines that a Configuration names."""
