"""The assembled systems: each module with a PROGRAM is one that `mac run` can start."""
