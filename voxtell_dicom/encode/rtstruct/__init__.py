"""RT Structure Sets."""
