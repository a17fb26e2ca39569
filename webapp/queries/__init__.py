"""Reads for tables, pages and JSON: each takes the organisation first and answers with frozen views."""
