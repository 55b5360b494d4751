"""Archive of the node: received instances, their index and their state."""
