"""The durable line through the rooms: `process` → `segment` → `publish` → `deliver`, each resumable after a crash."""
