"""Damaged files at scale: every reader on files of which a few bytes were changed."""
