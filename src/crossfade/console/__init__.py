"""For people: the command line and what it prints. Imports everything below, and is imported by nothing."""
