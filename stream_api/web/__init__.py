"""The live dashboard: plain files, served by the sidecar at `/`."""
