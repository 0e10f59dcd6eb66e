"""The whole backend in one folder and one command, for a laptop and for the tests."""
