"""Real peers for tests: each starts on free ports, says when it is ready, and is stopped by its own pid."""
