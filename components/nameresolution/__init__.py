"""Name resolvers, one module each."""
