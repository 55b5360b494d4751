"""Logs. UIDs and titles only: never a name, a patient ID or a secret at INFO or above."""
