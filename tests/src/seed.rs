//! Randomness that can be repeated: the seed is printed, and `OPRC_TEST_SEED` sets it.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A generator for the test `name`. The seed is printed; cargo shows it when the test fails.
///
/// # Panics
/// When `OPRC_TEST_SEED` is set to something that is not a number.
pub fn rng(name: &str) -> StdRng {
    let seed = match std::env::var("OPRC_TEST_SEED") {
        Ok(text) => text.parse().expect("OPRC_TEST_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{name}: seed {seed} (repeat with OPRC_TEST_SEED={seed})");
    StdRng::seed_from_u64(seed)
}
