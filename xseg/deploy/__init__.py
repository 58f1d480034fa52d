"""Models made ready for fast prediction: folded, packed, on other engines, exported."""
