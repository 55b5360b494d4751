"""What speaks for or against a result: self-check, gates, confidence."""
