"""Where trouble is looked for; each module finds the conditions of one source."""
