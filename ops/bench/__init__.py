"""Benchmarks: blendq beside its peers and the limit, in turn, in the same run. See docs/benchmarks.md."""
