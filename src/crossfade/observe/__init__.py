"""What happens: failpoints, events, and who listens."""
