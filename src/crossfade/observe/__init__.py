"""What happens: where a run can be made to fail, and how far it is."""
