//! `PUT /classes/{class}`: the component is hashed as it comes in, goes to one host piece by piece, and that host compiles,
//! checks and deploys it; if it cannot, another one does. The answer waits until this gateway sees the new revision, so that a call that follows it runs
//! the new code.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::StatusCode;
use oprc_mesh::id::{ClassName, NodeId};
use oprc_mesh::limits::{COMPONENT_BYTES_MAX, DEADLINE_MS_MAX, MANIFEST_BYTES_MAX};
use oprc_mesh::manifest::Manifest;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, Deploy, DeployCanary, Deployed, Op};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use crate::body::{Inbound, too_large};
use crate::call::Call;
use crate::classes::{MethodShape, hex, methods};
use crate::media::content_type;
use crate::multipart::Parts;
use crate::problem::Refusal;
use crate::reply::{Reply, json};
use crate::route::Target;
use crate::settings::{Manner, expect_name, from_query};
use crate::upload::{Component, Gathering};

/// What boundaries and part headers may add to a multipart body.
const MULTIPART_EXTRA_BYTES: usize = 64 * 1024;
/// Other hosts that are tried when one cannot do it.
const OTHER_HOSTS_MAX: usize = 2;

/// What is to be deployed.
struct Wanted {
    component: Component,
    manifest: Manifest,
    manner: Manner,
}

/// What a deployment came to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Deployed")]
pub(crate) struct Answered<'a> {
    class: &'a str,
    /// Counts the class's deployments from 1.
    version: u64,
    /// SHA-256 of the component.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    digest: String,
    /// Any method name goes to the component's own handler.
    generic: bool,
    /// The component serves HTTP of its own, below `/api/v1/classes/{class}/http`.
    serves_http: bool,
    methods: Vec<MethodShape<'a>>,
    /// It is the class's canary, for so many of a hundred objects; absent: it is the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    canary: Option<u32>,
    /// The version of the canary that ended with it; absent: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_canary: Option<u64>,
}

/// See the module.
pub(crate) async fn deploy(call: &Call<'_>, class: &ClassName, body: Inbound) -> Result<Reply, Refusal> {
    let until = call.deadline.or_longer(call.app.config.upload_ms);
    let wanted = match content_type(call.headers()).as_str() {
        "multipart/form-data" => multipart(call, class, body, until).await?,
        // what curl says of a file unless told otherwise is taken too: the host looks at the bytes anyway
        "" | "application/wasm" | "application/octet-stream" | "application/x-www-form-urlencoded" => {
            plain(call, class, body, until).await?
        }
        other => return Err(Refusal::unsupported_media_type(other, "application/wasm, multipart/form-data")),
    };
    call.still_may(call.need)?;
    let mut avoided = BTreeSet::new();
    let (host, deployed) = loop {
        let host = call.app.host(&avoided, until).await?;
        match deploy_on(call, host, class, &wanted, until).await {
            Ok(deployed) => break (host, deployed),
            // another host can do it as well, and nothing has come of it here
            Err(refusal) if may_go_elsewhere(refusal.problem()) && avoided.len() < OTHER_HOSTS_MAX => {
                avoided.insert(host);
                if call.app.alive().is_subset(&avoided) {
                    return Err(refusal);
                }
            }
            Err(refusal) => return Err(refusal),
        }
    };
    let deadline = call.deadline.or_longer(DEADLINE_MS_MAX);
    if !call.app.see(deployed.revision, Some(host), deadline).await {
        tracing::warn!(%class, "the class is deployed but this gateway does not see it yet");
    }
    respond(&deployed)
}

async fn deploy_on(
    call: &Call<'_>,
    host: NodeId,
    class: &ClassName,
    wanted: &Wanted,
    until: Instant,
) -> Result<Deployed, Refusal> {
    let digest = wanted.component.send(call.app, host, until).await.map_err(|refusal| {
        match refusal.problem().kind() {
            // whatever became of the pieces: nothing is deployed by them
            Code::Unavailable | Code::NoQuorum | Code::Deadline => refusal.effect(Effect::NotRun),
            _ => refusal,
        }
    })?;
    let deadline = call.deadline.or_longer(DEADLINE_MS_MAX); // compiling begins now
    let Manner { force, canary } = wanted.manner;
    let operation = |_| {
        let deploy = Deploy {
            class: class.as_str().to_owned(),
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            settings: wanted.manifest.settings.clone(),
            force,
        };
        match canary {
            None => Op::Deploy(deploy),
            Some(share) => Op::DeployCanary(DeployCanary { deploy, share }),
        }
    };
    match call.app.ask(Target::Node(host), deadline, Repeat::Never, operation).await? {
        Answer::Deployed(deployed) => Ok(deployed),
        _ => Err(Refusal::misanswered()),
    }
}

fn may_go_elsewhere(problem: &Problem) -> bool {
    problem.effect() == Effect::NotRun
        && matches!(problem.kind(), Code::Unavailable | Code::NoQuorum | Code::NotLeader)
}

/// Has the catalog deploy what it holds already, and answers as a deployment does, once this gateway sees the new revision.
pub(crate) async fn deploy_again(call: &Call<'_>, class: &ClassName, op: &Op) -> Result<Reply, Refusal> {
    // it may have to be fetched and compiled first
    let deadline = call.deadline.or_longer(DEADLINE_MS_MAX);
    let Answer::Deployed(deployed) =
        call.app.ask(Target::Catalog, deadline, Repeat::Never, |_| op.clone()).await?
    else {
        return Err(Refusal::misanswered());
    };
    if !call.app.see(deployed.revision, None, deadline).await {
        tracing::warn!(%class, "the class is deployed again but this gateway does not see it yet");
    }
    respond(&deployed)
}

fn respond(deployed: &Deployed) -> Result<Reply, Refusal> {
    let class = &deployed.class;
    let status = if deployed.unchanged { StatusCode::OK } else { StatusCode::CREATED };
    let answered = Answered {
        class: &class.name,
        version: class.version,
        digest: hex(&class.digest),
        generic: class.generic,
        serves_http: class.serves_http,
        methods: methods(class),
        canary: Some(deployed.canary).filter(|share| *share > 0),
        ended_canary: Some(deployed.ended).filter(|version| *version > 0),
    };
    Ok(json(status, &answered)?)
}

/// A body that is the component, with the manifest in the query.
async fn plain(
    call: &Call<'_>,
    class: &ClassName,
    mut body: Inbound,
    until: Instant,
) -> Result<Wanted, Refusal> {
    let (manifest, manner) = (from_query(call.query())?, Manner::beside_manifest(call.query())?);
    expect_name(&manifest, class)?;
    refuse_declared(&body, COMPONENT_BYTES_MAX)?;
    let mut gathering = Gathering::new(&call.app.admission);
    while let Some(piece) = body.piece(until).await? {
        gathering.push(piece)?;
    }
    Ok(Wanted { component: gathering.finish()?, manifest, manner })
}

/// A body with parts `component` and, unless all defaults will do, `manifest`, in any order.
async fn multipart(
    call: &Call<'_>,
    class: &ClassName,
    body: Inbound,
    until: Instant,
) -> Result<Wanted, Refusal> {
    let manner = Manner::alone(call.query())?;
    refuse_declared(&body, COMPONENT_BYTES_MAX + MANIFEST_BYTES_MAX + MULTIPART_EXTRA_BYTES)?;
    let mut parts = Parts::of(call.headers(), body, until).await?;
    let mut component = None;
    let mut manifest = None;
    while let Some(mut part) = parts.next().await? {
        match part.name() {
            "component" if component.is_none() => {
                let mut gathering = Gathering::new(&call.app.admission);
                while let Some(piece) = part.piece().await? {
                    gathering.push(piece)?;
                }
                component = Some(gathering.finish()?);
            }
            "manifest" if manifest.is_none() => {
                let parsed = Manifest::parse(&part.text(MANIFEST_BYTES_MAX).await?)?;
                expect_name(&parsed, class)?;
                manifest = Some(parsed);
            }
            name @ ("component" | "manifest") => {
                return Err(Refusal::invalid(format!("part {name:?} is there twice")));
            }
            name => {
                return Err(Refusal::invalid(format!("unknown part {name:?}"))
                    .hint("send one part named component and, if wanted, one named manifest"));
            }
        }
    }
    match component {
        Some(component) => Ok(Wanted { component, manifest: manifest.unwrap_or_default(), manner }),
        None => Err(Refusal::invalid("the multipart body has no part named component")
            .hint("send the .wasm file as part component: curl -F component=@FILE.wasm")),
    }
}

/// Refuses a body that declares itself too large before a byte of it is read.
fn refuse_declared(body: &Inbound, bytes_max: usize) -> Result<(), Refusal> {
    match body.declared_bytes() {
        Some(declared) if declared > bytes_max as u64 => Err(too_large(COMPONENT_BYTES_MAX)),
        _ => Ok(()),
    }
}
