"""What benchmark suites (`lab/bench_SUITE.py`) share: rows, tables, and ways to measure."""
