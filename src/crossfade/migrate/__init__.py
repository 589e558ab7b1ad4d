"""Movement: plan, copy, prove; later follow, cut over, roll back."""
