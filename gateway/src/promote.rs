//! `POST /classes/{class}/promote`: the class's canary becomes the class.

use oprc_mesh::id::ClassName;
use oprc_mesh::limits::DEADLINE_MS_MAX;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, ClassAddress, Op};

use crate::call::Call;
use crate::deploy::respond;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::Reply;
use crate::route::Target;

/// See the module. Answers as a deployment does, once this gateway sees the new revision.
pub(crate) async fn promote(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    // it may have to be fetched and compiled first, as for a deployment
    let deadline = call.deadline.or_longer(DEADLINE_MS_MAX);
    let operation = |_| Op::Promote(ClassAddress { class: class.as_str().to_owned() });
    let Answer::Deployed(deployed) =
        call.app.ask(Target::Catalog, deadline, Repeat::Never, operation).await?
    else {
        return Err(Refusal::misanswered());
    };
    if !call.app.see(deployed.revision, None, deadline).await {
        tracing::warn!(%class, "the canary is the class now but this gateway does not see it yet");
    }
    respond(&deployed)
}
