"""HTTP routes: one module a group, a route is a sentence."""
