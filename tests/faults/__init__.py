"""Faults run for real: processes that are killed, full disks, flipped bits, and what is lost."""
