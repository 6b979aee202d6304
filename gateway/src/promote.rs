//! `POST /classes/{class}/promote`: the class's canary becomes the class.

use oprc_mesh::id::ClassName;
use oprc_mesh::wire::{ClassAddress, Op};

use crate::call::Call;
use crate::deploy::deploy_again;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::Reply;

/// See the module. Answers as a deployment does, once this gateway sees the new revision.
pub(crate) async fn promote(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    deploy_again(call, class, &Op::Promote(ClassAddress { class: class.as_str().to_owned() })).await
}
