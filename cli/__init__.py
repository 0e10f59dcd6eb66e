"""The command line `analytics`: a file a command."""
