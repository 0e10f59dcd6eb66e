"""`analytics doctor`: what is wrong with a running system, and where it is written what to do."""
