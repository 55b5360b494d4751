"""What the node holds: received instances, their index and their state."""
