//! Key sets: fetching, keeping, parsing.
