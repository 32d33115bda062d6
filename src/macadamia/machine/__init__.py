"""The computer under a kernel: `x86_64` is the real one, `hosted` its simulated twin for tests."""
