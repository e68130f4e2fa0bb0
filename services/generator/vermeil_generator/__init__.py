"""Models that answer: several at once, token by token."""
