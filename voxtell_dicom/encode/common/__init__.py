"""What every kind of result object shares: identity, output context, source headers, Part 10."""
