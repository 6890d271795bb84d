//! Seeded randomness: one independent stream a purpose.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A generator of its own for each purpose, so that a draw more in one place changes nothing in another.
pub(crate) fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(xxh3_64_with_seed(purpose.as_bytes(), seed))
}

/// The generator of draw number `draw` of customer number `index`: depends on nothing that happened to anybody else.
pub(crate) fn draw(seed: u64, index: usize, draw: u64) -> ChaCha8Rng {
    let mut bytes = [0_u8; 16];
    let (left, right) = bytes.split_at_mut(8);
    left.copy_from_slice(&(index as u64).to_le_bytes());
    right.copy_from_slice(&draw.to_le_bytes());
    ChaCha8Rng::seed_from_u64(xxh3_64_with_seed(&bytes, seed))
}
