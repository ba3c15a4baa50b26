"""Cases of `bp-arrays check`, by subject."""
