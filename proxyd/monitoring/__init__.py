"""What operators see of the data plane: metrics, a line for each request, traces.

Law of this package: nobody who asks for an answer of a provider waits for any of it. A worker counts in a page of
memory and no more; all else is made in the ledger writer's process, of the records that the ledger is made of, and is
read out by threads there. What is switched off is not imported, and costs nothing.
"""
