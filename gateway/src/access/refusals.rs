//! What is told to those who are not let in.

use oprc_mesh::outcome::{Code, Effect};

use super::jwt::Bad;
use crate::problem::Refusal;

pub(super) fn unauthenticated(detail: &str) -> Refusal {
    Refusal::new(Code::Unauthenticated, detail)
        .hint("send a key as `Authorization: Bearer oprc_...`; an administrator makes one with `oprc key create`")
        .effect(Effect::NotRun)
}

pub(super) fn ill_formed() -> Refusal {
    unauthenticated("the credentials are not formed as those that are taken here")
}

/// Whoever shows it learns nothing but that it does not count: what is wrong, the log says.
pub(super) fn not_verified(bad: Bad) -> Refusal {
    if bad == Bad::NoKeys {
        return unknown_yet("the keys of the JWT issuer");
    }
    tracing::debug!(why = %bad, "a JWT does not count");
    Refusal::new(Code::Unauthenticated, "the token does not count, or no more")
        .hint("get another token from its issuer; the gateway's log says at level debug why this one does not count")
        .effect(Effect::NotRun)
}

/// A gateway that has not heard of the keys yet cannot tell.
pub(super) fn unknown_yet(keys: &str) -> Refusal {
    Refusal::new(Code::Unavailable, format!("this gateway does not know {keys} yet"))
        .hint("try again in a moment")
        .effect(Effect::NotRun)
}
