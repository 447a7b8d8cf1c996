"""What people said of findings: a store of events, the queue that hands findings out, and what follows from it."""
