"""Rows of the database as frozen values: found by organisation and id, turned into what reads and writes answer with.

Law of this package: it decides nothing and changes nothing. A row that it finds stays within actions and queries.
"""
