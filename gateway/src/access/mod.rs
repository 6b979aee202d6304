//! Who asks, and what they may do. Without identity everybody may do everything; with it, a request shows a key of the
//! catalog, or the operator's own, or a JWT, in `Authorization: Bearer ...`, and what its scopes do not allow is refused
//! before anything is looked up: a refusal tells what is missing, and nothing of what exists.

mod guard;
mod jwt;
mod need;
mod refusals;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use guard::{Guard, Identity};
pub use jwt::{JwtConfig, JwtError, KeySource, KeySourceError};
pub(crate) use need::Need;
pub use token::new_token;

use oprc_mesh::access::TokenHash;

/// Who may use a gateway.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Everybody may do everything.
    #[default]
    Open,
    /// Who shows a key, or a JWT, may do what it allows.
    Keys {
        /// The operator's own token, which allows everything and lies in no catalog: with it the first keys are made.
        root: Option<TokenHash>,
        /// Whose JWTs count; without it, none does.
        jwt: Option<Box<JwtConfig>>,
    },
}
