"""The outbound side: connections to providers, the pool that keeps them, and one call at a time over each."""
