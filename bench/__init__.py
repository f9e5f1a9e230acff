"""Latency benchmark."""
