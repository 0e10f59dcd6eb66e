"""The stream of each closed hour against what is stored of it."""
