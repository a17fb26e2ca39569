"""Money and limits in the data plane: the journal, the group commit, the ledger."""
