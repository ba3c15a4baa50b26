"""The cases of `bp-arrays check`, by subject."""
