"""The typed job book: tables, states and transitions, and what a person may do to a job."""
