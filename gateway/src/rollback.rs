//! `POST /classes/{class}/rollback`: an earlier version of the class is deployed again, as a new version.

use oprc_mesh::id::ClassName;
use oprc_mesh::wire::{Op, RollBack};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Inbound;
use crate::call::Call;
use crate::deploy::deploy_again;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::Reply;

/// A body says one number.
const BODY_BYTES_MAX: usize = 1_024;

/// The body; none stands for an empty one.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "RollbackWish")]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// The version; null or absent: the one before the current one.
    #[schemars(range(min = 1))]
    to: Option<u64>,
}

impl Wish {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // a derived struct would take an array of its members too
        let named = body.trim_ascii_start().starts_with(b"{");
        let read = if named {
            serde_json::from_slice(body)
        } else {
            Err(serde::de::Error::custom("it is no object"))
        };
        let wish: Self = read
            .map_err(|error| Refusal::invalid(format!("the body does not name a version: {error}")))
            .map_err(|refusal| refusal.hint("send {\"to\": VERSION}, or nothing for the version before"))?;
        if wish.to == Some(0) {
            return Err(Refusal::invalid("versions count from 1"));
        }
        Ok(wish)
    }
}

/// See the module. Answers as a deployment does, once this gateway sees the new revision.
pub(crate) async fn roll_back(call: &Call<'_>, class: &ClassName, body: Inbound) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let body = call.read(body, BODY_BYTES_MAX).await?;
    let Wish { to } = Wish::parse(&body.bytes)?;
    deploy_again(call, class, &Op::RollBack(RollBack { class: class.as_str().to_owned(), to })).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_version_may_be_named() {
        for body in ["", " \n", "{}", "{\"to\": null}"] {
            assert_eq!(Wish::parse(body.as_bytes()).unwrap(), Wish { to: None }, "{body}");
        }
        assert_eq!(Wish::parse(b"{\"to\": 3}").unwrap(), Wish { to: Some(3) });
        for body in
            ["3", "[3]", "{\"to\": \"3\"}", "{\"to\": 0}", "{\"to\": -1}", "{\"version\": 3}", "{", "null"]
        {
            assert!(Wish::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
