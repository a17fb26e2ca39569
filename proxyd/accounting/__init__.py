"""Money and limits in the data plane: what is admitted, what it cost, and how both survive whatever happens.

A worker admits through `Accounting`: requests of the same moment form one batch (`group_commit`), which the counters
judge in one transaction and the worker's `journal` records in one write, before any of them is sent. The
`ledger_writer`, a process of its own, brings journals into the ledger, closes those of the dead, and makes new counters
when the old ones are lost. Nobody else writes the ledger.
"""
