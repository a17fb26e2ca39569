"""The counters on Redis or Valkey: one script for a batch, the way to the server, and what else is kept there."""
