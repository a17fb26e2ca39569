"""The use case: one request from an app to a provider. Read `exchange.py` top to bottom, then you know the product."""
