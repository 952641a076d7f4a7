"""What the revocation feed goes through in a bad week: nothing is lost, and nothing accepted too long."""
