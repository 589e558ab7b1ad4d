"""Movement: plan, copy, prove, follow, cut over, roll back, restore."""
