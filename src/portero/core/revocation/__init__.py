"""What was taken back, until when it matters; cursor, snapshot, staleness."""
