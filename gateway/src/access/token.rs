//! New tokens.

use oprc_mesh::access::Token;
use rand::TryRngCore as _;
use rand::rand_core::OsError;
use rand::rngs::OsRng;

/// A token that nobody knows yet, from the system's own source of chance.
///
/// # Errors
/// The system has none to give.
pub fn new_token() -> Result<Token, OsError> {
    let mut secret = [0; 32];
    OsRng.try_fill_bytes(&mut secret)?;
    Ok(Token::new(OsRng.try_next_u64()?, secret))
}
