//! Classes as they are deployed: listing, description, history, removal.

use hyper::StatusCode;
use oprc_mesh::catalog::{Class, ClassLimits, Method, Param};
use oprc_mesh::id::ClassName;
use oprc_mesh::limits::SETTINGS;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, ClassAddress, Op, RemoveClass};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::call::Call;
use crate::cursor::{self, Kind};
use crate::listing::Listing;
use crate::problem::Refusal;
use crate::query::{Page, Query};
use crate::reply::{Reply, empty, json};
use crate::route::Target;

/// A class in a listing or a history.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ClassEntry")]
pub(crate) struct Entry {
    class: String,
    /// Counts its deployments from 1.
    version: u64,
    /// SHA-256 of the component.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    digest: String,
    /// Milliseconds since the Unix epoch.
    deployed_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryShape>,
}

/// Other code that serves a share of a class's objects; absent for a class without one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Canary")]
pub(crate) struct CanaryShape {
    /// The version that it is when it becomes the class.
    version: u64,
    /// SHA-256 of the component.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    digest: String,
    /// How many of a hundred objects it serves.
    #[schemars(range(min = 1, max = 99))]
    share: u32,
    /// When this code was deployed first as the canary, in milliseconds since the Unix epoch.
    deployed_at_ms: u64,
}

impl CanaryShape {
    fn of(class: &Class) -> Option<Self> {
        let canary = class.canary.as_ref()?;
        Some(Self {
            version: canary.class.version,
            digest: hex(&canary.class.digest),
            share: canary.share,
            deployed_at_ms: canary.class.deployed_at_ms,
        })
    }
}

impl From<&Class> for Entry {
    fn from(class: &Class) -> Self {
        Self {
            class: class.name.clone(),
            version: class.version,
            digest: hex(&class.digest),
            deployed_at_ms: class.deployed_at_ms,
            canary: CanaryShape::of(class),
        }
    }
}

/// A class in full.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Class")]
pub(crate) struct Description<'a> {
    class: &'a str,
    /// Counts its deployments from 1.
    version: u64,
    /// SHA-256 of the component.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    digest: String,
    /// Milliseconds since the Unix epoch.
    deployed_at_ms: u64,
    grid: &'a str,
    /// Any method name goes to the component's own handler.
    generic: bool,
    /// The component serves HTTP of its own, below `/api/v1/classes/{class}/http`.
    serves_http: bool,
    /// Where its requests may go.
    http_origins: &'a [String],
    /// Networks beside the public Internet that they may reach.
    http_networks: &'a [String],
    readonly: &'a [String],
    #[serde(serialize_with = "by_key")]
    #[schemars(schema_with = "limits_schema")]
    limits: ClassLimits,
    methods: Vec<MethodShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryShape>,
}

/// As the manifest writes them: a number per key.
fn by_key<S: Serializer>(limits: &ClassLimits, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(SETTINGS.iter().map(|setting| setting.key).zip(limits.values()))
}

/// The same as a schema.
fn limits_schema(_: &mut SchemaGenerator) -> Schema {
    let keys = SETTINGS.map(|setting| setting.key);
    let each = SETTINGS.iter().map(|setting| {
        // 0 where there is no limit unless the manifest sets one
        let least = u64::from(setting.default > 0);
        let bounds = json_schema!({ "type": "integer", "minimum": least, "maximum": setting.cap });
        (setting.key.to_owned(), bounds.to_value())
    });
    let properties: serde_json::Map<_, _> = each.collect();
    json_schema!({ "type": "object", "properties": properties, "required": keys })
}

/// A method with its signature, whole and in parts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Method")]
pub(crate) struct MethodShape<'a> {
    name: &'a str,
    signature: String,
    params: Vec<ParamShape<'a>>,
    /// The WIT type; null for none.
    result: Option<&'a str>,
    readonly: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Parameter")]
struct ParamShape<'a> {
    name: &'a str,
    /// The WIT type.
    #[serde(rename = "type")]
    ty: &'a str,
}

impl<'a> From<&'a Method> for MethodShape<'a> {
    fn from(method: &'a Method) -> Self {
        Self {
            name: &method.name,
            signature: method.signature(),
            params: method.params.iter().map(|Param { name, ty }| ParamShape { name, ty }).collect(),
            result: Some(method.result.as_str()).filter(|result| !result.is_empty()),
            readonly: method.readonly,
        }
    }
}

/// The methods of a class.
pub(crate) fn methods(class: &Class) -> Vec<MethodShape<'_>> {
    class.methods.iter().map(MethodShape::from).collect()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// `GET /classes`: in name order.
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let Page { prefix, limit, after, .. } = Page::parse(call.query(), Kind::Class)?;
    let view = call.app.known_view(call.deadline.at).await?;
    let known = |class: &Class| ClassName::parse(&class.name).is_ok_and(|name| call.identity.knows(&name));
    let mut rest = view
        .classes
        .iter()
        .filter(|class| class.name > after && class.name.starts_with(&prefix) && known(class));
    let items: Vec<Entry> = rest.by_ref().take(limit).map(Entry::from).collect();
    let more = rest.next().is_some();
    let next = items.last().filter(|_| more).map(|last| cursor::encode(Kind::Class, &last.class));
    Ok(json(StatusCode::OK, &Listing { items, next })?)
}

/// `GET /classes/{class}`.
pub(crate) async fn describe(call: &Call<'_>, name: &ClassName) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let (_, class) = call.app.class(name, call.deadline.at).await?;
    let description = Description {
        class: &class.name,
        version: class.version,
        digest: hex(&class.digest),
        deployed_at_ms: class.deployed_at_ms,
        grid: &class.grid,
        generic: class.generic,
        serves_http: class.serves_http,
        http_origins: &class.settings.http_origins,
        http_networks: &class.settings.http_networks,
        readonly: &class.settings.readonly,
        limits: class.settings.limits,
        methods: methods(&class),
        canary: CanaryShape::of(&class),
    };
    Ok(json(StatusCode::OK, &description)?)
}

/// `GET /classes/{class}/versions`: oldest first.
pub(crate) async fn versions(call: &Call<'_>, name: &ClassName) -> Result<Reply, Refusal> {
    let Page { limit, after, .. } = Page::parse(call.query(), Kind::Version)?;
    let after = match after.as_str() {
        "" => 0,
        text => text.parse().map_err(|_| Refusal::invalid("the cursor is not from this listing"))?,
    };
    let operation = |_| Op::ListVersions(ClassAddress { class: name.as_str().to_owned() });
    let Answer::Versions(versions) =
        call.app.ask(Target::Catalog, call.deadline.at, Repeat::Harmless, operation).await?
    else {
        return Err(Refusal::misanswered());
    };
    let mut rest = versions.items.iter().filter(|class| class.version > after);
    let items: Vec<Entry> = rest.by_ref().take(limit).map(Entry::from).collect();
    let more = rest.next().is_some();
    let next =
        items.last().filter(|_| more).map(|last| cursor::encode(Kind::Version, &last.version.to_string()));
    Ok(json(StatusCode::OK, &Listing { items, next })?)
}

/// `DELETE /classes/{class}?purge=true`. Answers once this gateway sees it gone.
pub(crate) async fn remove(call: &Call<'_>, name: &ClassName) -> Result<Reply, Refusal> {
    let purge = Query::parse(call.query(), &["purge"])?.flag("purge")?;
    let operation = |_| Op::RemoveClass(RemoveClass { class: name.as_str().to_owned(), purge });
    let Answer::Removed(removed) =
        call.app.ask(Target::Catalog, call.deadline.at, Repeat::Never, operation).await?
    else {
        return Err(Refusal::misanswered());
    };
    if !call.app.see(removed.revision, None, call.deadline.at).await {
        tracing::warn!(class = %name, "the class is removed but this gateway does not see it yet");
    }
    Ok(empty(StatusCode::NO_CONTENT))
}
