//! Keys of those who may use the cluster: made, listed, given another secret, revoked. A secret is shown once, to whom it
//! is made for; the catalog keeps its hash.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use oprc_mesh::access::{ApiKey, ChangeKey, KeyChange, RotateKey, Token, TokenHash};
use oprc_mesh::clock::now_ms;
use oprc_mesh::id::KeyName;
use oprc_mesh::limits::{BURST, CALLS_PER_S, CONCURRENCY, PAYLOAD_KIB};
use oprc_mesh::outcome::Code;
use oprc_mesh::rates::Rates;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, Op};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access;
use crate::body::Inbound;
use crate::call::Call;
use crate::listing::Listing;
use crate::media::expect_json;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::{Reply, empty, json};
use crate::route::Target;

/// Bytes of a request for a key.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a key may last, and one secret beside its successor: ten years.
const SECONDS_MAX: u64 = 10 * 365 * 24 * 3_600;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WantedKey")]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// A letter, then up to 63 letters, digits, `_` or `-`.
    name: String,
    /// Each `read`, `invoke` or `deploy`, alone or with `:CLASS` or `:BEGINNING*`, or `admin`.
    scopes: Vec<String>,
    /// Seconds from now on; without, for ever.
    #[serde(default)]
    expires_in_s: Option<u64>,
    /// How much it may ask of each gateway.
    #[serde(default)]
    limits: Option<Limits>,
}

/// A key's limits at each gateway; absent for none.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "KeyLimits")]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Calls in a second, in the long run.
    #[schemars(with = "u64", range(min = 1, max = CALLS_PER_S.cap))]
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_s: Option<u64>,
    /// Calls at once after a pause, only with `calls_per_s`; as many as in a second unless said.
    #[schemars(with = "u64", range(min = 1, max = BURST.cap))]
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
    /// Calls under way.
    #[schemars(with = "u64", range(min = 1, max = CONCURRENCY.cap))]
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u64>,
    /// A call's body.
    #[schemars(with = "u64", range(min = 1, max = PAYLOAD_KIB.cap))]
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_kib: Option<u64>,
}

impl Limits {
    fn of(rates: &Rates) -> Self {
        let Rates { calls_per_s, burst, concurrency, payload_kib } = *rates;
        Self {
            calls_per_s: some(calls_per_s),
            burst: some(burst),
            concurrency: some(concurrency),
            payload_kib: some(payload_kib),
        }
    }

    /// What the catalog keeps; none when there is no limit.
    fn rates(&self) -> Result<Option<Rates>, Refusal> {
        let named = [
            ("calls_per_s", self.calls_per_s),
            ("burst", self.burst),
            ("concurrency", self.concurrency),
            ("payload_kib", self.payload_kib),
        ];
        if let Some((name, _)) = named.iter().find(|(_, value)| *value == Some(0)) {
            return Err(Refusal::invalid(format!("limits.{name} = 0 is not allowed"))
                .hint("leave it out for no limit"));
        }
        let [calls_per_s, burst, concurrency, payload_kib] = named.map(|(_, value)| value.unwrap_or(0));
        let rates = Rates { calls_per_s, burst, concurrency, payload_kib };
        rates.check()?;
        Ok(Some(rates).filter(|rates| *rates != Rates::default()))
    }
}

#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "KeyRotation")]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// Seconds for which the secret before counts as well.
    #[serde(default)]
    grace_s: u64,
}

/// A key as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct Document<'a> {
    name: &'a str,
    scopes: &'a [String],
    created_at_ms: u64,
    expires_at_ms: Option<u64>,
    limits: Limits,
    /// The beginnings of the tokens that count, the newest first.
    tokens: Vec<Shown>,
    /// The token, when it was just made: it is never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyToken")]
struct Shown {
    id: String,
    until_ms: Option<u64>,
}

/// 0 stands for none.
const fn some(value: u64) -> Option<u64> {
    if value == 0 { None } else { Some(value) }
}

impl<'a> Document<'a> {
    fn of(key: &'a ApiKey, token: Option<&'a Token>) -> Self {
        let shown = |token: &TokenHash| Shown {
            id: format!("oprc_{:016x}", token.id),
            until_ms: some(token.until_ms),
        };
        Self {
            name: &key.name,
            scopes: &key.scopes,
            created_at_ms: key.created_at_ms,
            expires_at_ms: some(key.expires_at_ms),
            limits: Limits::of(&key.rates.unwrap_or_default()),
            tokens: key.tokens.iter().map(shown).collect(),
            token: token.map(Token::reveal),
        }
    }
}

/// `GET /keys`: in name order, all of them.
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let view = call.app.known_view(call.deadline.at).await?;
    let items: Vec<_> = view.keys.iter().map(|key| Document::of(key, None)).collect();
    Ok(json(StatusCode::OK, &Listing { items, next: None })?)
}

/// `POST /keys`.
pub(crate) async fn create(call: &Call<'_>, body: Inbound) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    expect_json(call.headers())?;
    let body = call.read(body, BODY_BYTES_MAX).await?;
    let wanted: Wanted = serde_json::from_slice(&body.bytes).map_err(|error| {
        Refusal::invalid(format!("the body describes no key: {error}")).hint(
            "send {\"name\": ..., \"scopes\": [\"read:Counter\", ...]}; expires_in_s and limits are optional",
        )
    })?;
    let token = new_token()?;
    let created_at_ms = now_ms();
    let key = ApiKey {
        name: KeyName::parse(&wanted.name)?.as_str().to_owned(),
        scopes: wanted.scopes,
        tokens: vec![token.hash()],
        created_at_ms,
        expires_at_ms: wanted.expires_in_s.map_or(Ok(0), |seconds| later(created_at_ms, seconds))?,
        rates: wanted.limits.unwrap_or_default().rates()?,
    };
    change(call, KeyChange::Create(key.clone()))
        .await
        .map_err(|refusal| refusal.on("create key", &key.name))?;
    let mut reply = secret(StatusCode::CREATED, &Document::of(&key, Some(&token)))?;
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/keys/{}", key.name)) {
        reply.headers_mut().insert(LOCATION, location);
    }
    Ok(reply)
}

/// `POST /keys/{name}/rotate`.
pub(crate) async fn rotate(call: &Call<'_>, name: &KeyName, body: Inbound) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let body = call.read(body, BODY_BYTES_MAX).await?;
    let rotation: Rotation = if body.bytes.is_empty() {
        Rotation::default()
    } else {
        expect_json(call.headers())?;
        serde_json::from_slice(&body.bytes).map_err(|error| {
            Refusal::invalid(format!("the body is not what a rotation takes: {error}"))
                .hint("send {\"grace_s\": 3600}, or nothing")
        })?
    };
    let token = new_token()?;
    let before_until_ms = if rotation.grace_s == 0 { 0 } else { later(now_ms(), rotation.grace_s)? };
    let rotate = RotateKey { name: name.as_str().to_owned(), token: token.hash(), before_until_ms };
    change(call, KeyChange::Rotate(rotate)).await?;
    let view = call.app.view();
    let key = view.keys.iter().find(|key| key.name == name.as_str());
    let key = key.ok_or_else(|| Refusal::new(Code::Conflict, "the key was revoked meanwhile"))?;
    secret(StatusCode::OK, &Document::of(key, Some(&token)))
}

/// `DELETE /keys/{name}`: from then on it allows nothing, at this gateway at once and at all others within a second.
pub(crate) async fn revoke(call: &Call<'_>, name: &KeyName) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    change(call, KeyChange::Revoke(name.as_str().to_owned())).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn change(call: &Call<'_>, change: KeyChange) -> Result<(), Refusal> {
    let operation = |_| Op::ChangeKey(ChangeKey { change: Some(change.clone()) });
    // a secret that is lost on its way is made anew by whom it was for
    let answer = call.app.ask(Target::Catalog, call.deadline.at, Repeat::Never, operation).await?;
    let Answer::KeyChanged(changed) = answer else { return Err(Refusal::misanswered()) };
    if !call.app.see(changed.revision, None, call.deadline.at).await {
        tracing::warn!("a key is changed but this gateway does not see it yet");
    }
    Ok(())
}

fn later(now_ms: u64, seconds: u64) -> Result<u64, Refusal> {
    if (1..=SECONDS_MAX).contains(&seconds) {
        return Ok(now_ms + 1_000 * seconds);
    }
    Err(Refusal::invalid(format!("{seconds} seconds are not a time that is allowed"))
        .hint(format!("send a whole number of seconds from 1 to {SECONDS_MAX}")))
}

/// A document that nobody keeps on its way.
fn secret(status: StatusCode, document: &Document<'_>) -> Result<Reply, Refusal> {
    let mut reply = json(status, document)?;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn new_token() -> Result<Token, Refusal> {
    access::new_token()
        .map_err(|error| Refusal::new(Code::Internal, format!("the system gives no random numbers: {error}")))
}
