"""Many users of one sidecar at once: do all get a stream, and how late are their events?"""
