"""The simulator: the real loop, gates, ledger and recovery, with time and misfortune made up."""
