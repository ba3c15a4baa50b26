"""The proof of the proof: deliberate faults, and whether the checks catch them."""
