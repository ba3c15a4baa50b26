"""Runners: how the one training step runs on each device."""
