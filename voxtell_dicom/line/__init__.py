"""The steps of the line, without queue or database: plan, load, segment, publish."""
