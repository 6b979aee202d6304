//! The four ways into the product, each told what to do in its own manner, and what each says came of it in one form.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oprc_mesh::testing::Query;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Request, Status};

use crate::grpc::{Grpc, pb, problem_of};
use crate::mesh::{Answer, Asker};
use crate::{Class, Reply, Server};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// HTTP.
    Rest,
    /// HTTP/2 with protobuf.
    Grpc,
    /// `oprc invoke` and `oprc get`.
    Command,
    /// A query of Zenoh.
    Mesh,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rest, Self::Grpc, Self::Command, Self::Mesh];
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is wanted, whatever the way.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The class's name.
    pub class: String,
    /// None for a function.
    pub object: Option<String>,
    /// The method and its arguments; none to read the object.
    pub call: Option<(String, Value)>,
    /// The idempotency key.
    pub key: Option<String>,
    /// The deadline.
    pub timeout_ms: Option<u64>,
    /// A result of bytes is wanted as it is; not by the command, which would send bytes as well.
    pub raw: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The result, as `{"$base64": ...}` when it is bytes, or the members of the problem that every door tells.
    pub told: Result<Value, Value>,
    /// The object's version afterwards, where the door says it.
    pub version: Option<u64>,
    /// The call had come to this before, where the door says it.
    pub replayed: bool,
}

/// Clients of one server.
pub struct Doors {
    server: Server,
    token: Option<String>,
    grpc: Grpc,
    asker: Asker,
}

impl Doors {
    /// Clients that show `token`, if there is one. The server answers on the mesh as well.
    pub async fn of(server: &Server, token: Option<&str>) -> Self {
        Self {
            server: server.clone(),
            token: token.map(str::to_owned),
            grpc: Grpc::to(server).await,
            asker: server.asker(token).await,
        }
    }

    /// Does it.
    pub async fn ask(&self, door: Door, wish: &Wish) -> Outcome {
        match door {
            Door::Rest => self.rest(wish).await,
            Door::Grpc => self.grpc(wish).await,
            Door::Command => self.command(wish).await,
            Door::Mesh => self.mesh(wish).await,
        }
    }

    /// The problem document whole, as REST and the mesh tell it.
    ///
    /// # Panics
    /// When there is none.
    pub async fn documents(&self, rest: &Wish, mesh: &Wish) -> (Value, Value) {
        let rest = self.request(rest).await.json();
        (rest, self.question(mesh).await.expect_err("it fails"))
    }

    async fn request(&self, wish: &Wish) -> Reply {
        let http = self.server.http();
        let http = self.token.as_ref().map_or(http.clone(), |token| http.with_key(token));
        let class = Class { http: http.clone(), name: wish.class.clone() };
        let call = match (&wish.object, &wish.call) {
            (Some(object), Some((method, _))) => class.object(object).method(method),
            (None, Some((method, _))) => class.function(method),
            (object, None) => http.get(class.object(object.as_deref().unwrap_or_default()).path()),
        };
        let mut call = match &wish.call {
            Some((_, arguments)) => call.json(arguments),
            None => call,
        };
        if wish.raw {
            call = call.header("accept", "application/octet-stream");
        }
        if let Some(key) = &wish.key {
            call = call.header("idempotency-key", key);
        }
        if let Some(ms) = wish.timeout_ms {
            call = call.header("x-request-timeout-ms", ms);
        }
        call.send().await
    }

    async fn rest(&self, wish: &Wish) -> Outcome {
        let reply = self.request(wish).await;
        let replayed = reply.header("idempotency-replayed").is_some();
        let version = reply.header("oprc-version").map(|text| text.parse().expect("a number"));
        let told = if reply.status >= 400 {
            Err(common(&reply.json()))
        } else {
            Ok(result(&reply.body, reply.header("content-type").unwrap_or_default()))
        };
        Outcome { told, version, replayed }
    }

    async fn grpc(&self, wish: &Wish) -> Outcome {
        let failed = |status: &Status| {
            let problem = problem_of(status);
            Outcome { version: None, replayed: problem.replayed, told: Err(of_message(&problem)) }
        };
        let Some((method, arguments)) = &wish.call else {
            let get = pb::GetRequest {
                class_name: wish.class.clone(),
                object: wish.object.clone().unwrap_or_default(),
                ..pb::GetRequest::default()
            };
            return match self.grpc.objects.clone().get(self.request_of(get)).await {
                Ok(found) => {
                    let found = found.into_inner();
                    let version = found.state.as_ref().map(|state| state.version);
                    Outcome {
                        told: Ok(document(wish, version, &found.fields)),
                        version: None,
                        replayed: false,
                    }
                }
                Err(status) => failed(&status),
            };
        };
        let payload = Some(pb::call::Payload::Json(arguments.to_string()));
        let accept = if wish.raw { pb::ResultForm::Raw } else { pb::ResultForm::Json };
        let call = pb::Call {
            class_name: wish.class.clone(),
            object: wish.object.clone(),
            method: method.clone(),
            payload,
            accept: accept as i32,
            idempotency_key: wish.key.clone().unwrap_or_default(),
        };
        let message = pb::InvokeRequest { call: Some(call), consistency: 0 };
        if let Some(ms) = wish.timeout_ms {
            return failed(&self.late(&message, ms).await);
        }
        let request = self.request_of(message);
        match self.grpc.invocations.clone().invoke(request).await {
            Ok(response) => {
                let response = response.into_inner();
                let given = response.result.unwrap_or_default();
                let told = match given.value {
                    None => Value::Null,
                    Some(pb::call_result::Value::Json(text)) => result(text.as_bytes(), "application/json"),
                    Some(pb::call_result::Value::Raw(bytes)) => result(&bytes, "application/octet-stream"),
                };
                Outcome { told: Ok(told), version: given.version, replayed: response.replayed }
            }
            Err(status) => failed(&status),
        }
    }

    /// What is told of a call that has a deadline and fails. The usual client keeps the time itself, and would tell of that.
    async fn late(&self, message: &pb::InvokeRequest, ms: u64) -> Status {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).expect("it is short").to_be_bytes();
        let http = self.server.http().multiplexed().await;
        let call = http.post("/oprc.v1.InvocationService/Invoke").header("te", "trailers");
        let call = call.body("application/grpc", [&[0], &length[..], &message[..]].concat());
        let call = call.header("grpc-timeout", format!("{ms}m"));
        let reply = match &self.token {
            Some(token) => call.header("authorization", format!("Bearer {token}")).send().await,
            None => call.send().await,
        };
        let status =
            Status::from_header_map(&reply.headers).filter(|status| status.code() != tonic::Code::Ok);
        status.unwrap_or_else(|| panic!("it fails: {reply:?}"))
    }

    fn request_of<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("text"));
        }
        request
    }

    async fn command(&self, wish: &Wish) -> Outcome {
        let address = match &wish.object {
            Some(object) => format!("{}/{object}", wish.class),
            None => wish.class.clone(),
        };
        let mut args = match &wish.call {
            Some((method, arguments)) => {
                vec!["invoke".to_owned(), address, method.clone(), arguments.to_string()]
            }
            None => vec!["get".to_owned(), address],
        };
        args.extend(["--output".to_owned(), "json".to_owned()]);
        args.extend(wish.key.iter().flat_map(|key| ["--idempotency-key".to_owned(), key.clone()]));
        args.extend(wish.timeout_ms.iter().flat_map(|ms| ["--timeout".to_owned(), format!("{ms}ms")]));
        let env: Vec<_> = self.token.iter().map(|token| ("OPRC_KEY", token.as_str())).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let done = self.server.cli_with(&args, &env, None).await;
        let json = |text: &str| -> Value {
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {error} in {text}", done.line))
        };
        let told = match done.code {
            0 if done.out.trim().is_empty() => Ok(Value::Null),
            0 => Ok(json(&done.out)),
            _ => Err(common(&json(&done.err))),
        };
        Outcome { told, version: None, replayed: false }
    }

    async fn question(&self, wish: &Wish) -> Result<Answer, Value> {
        let class = &wish.class;
        let key = match (&wish.object, &wish.call) {
            (Some(object), Some((method, _))) => {
                format!("oprc/api/{class}/objects/{object}/invokes/{method}")
            }
            (None, Some((function, _))) => format!("oprc/api/{class}/invokes/{function}"),
            (object, None) => format!("oprc/api/{class}/objects/{}", object.as_deref().unwrap_or_default()),
        };
        let mut about = json!({});
        if let Some(key) = &wish.key {
            about["idempotency-key"] = json!(key);
        }
        if let Some(ms) = wish.timeout_ms {
            about["timeout-ms"] = json!(ms);
        }
        if wish.raw {
            about["accept"] = json!("application/octet-stream");
        }
        match &wish.call {
            Some((_, arguments)) => self.asker.ask(&key, Some(arguments), about).await,
            None => self.asker.ask_with(&key, Query::default(), about).await,
        }
    }

    async fn mesh(&self, wish: &Wish) -> Outcome {
        match self.question(wish).await {
            Ok(Answer { payload, encoding, about }) => Outcome {
                told: Ok(result(&payload, if payload.is_empty() { "" } else { &encoding })),
                version: wish.call.as_ref().and_then(|_| about["version"].as_u64()),
                replayed: about["replayed"] == true,
            },
            Err(problem) => Outcome { told: Err(common(&problem)), version: None, replayed: false },
        }
    }
}

/// A result as one JSON value; null for none.
fn result(bytes: &[u8], media_type: &str) -> Value {
    match media_type {
        _ if bytes.is_empty() => Value::Null,
        "application/octet-stream" => json!({ "$base64": STANDARD.encode(bytes) }),
        _ => serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error} in {bytes:?}")),
    }
}

/// The members of a problem document that every door tells.
fn common(problem: &Value) -> Value {
    let members = ["code", "status", "detail", "operation", "subject", "hint", "outcome", "error"];
    members
        .into_iter()
        .map(|member| (member.to_owned(), problem[member].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The same of a problem as gRPC has it.
fn of_message(problem: &pb::Problem) -> Value {
    let outcome = match problem.outcome() {
        pb::Outcome::NotRun => json!("not-run"),
        pb::Outcome::Unknown => json!("unknown"),
        pb::Outcome::Unspecified => Value::Null,
    };
    let error = if problem.error.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&problem.error).unwrap_or_else(|_| json!(problem.error))
    };
    common(&json!({
        "code": problem.code, "status": problem.status, "detail": problem.detail, "operation": problem.operation,
        "subject": problem.subject, "hint": problem.hint, "outcome": outcome, "error": error,
    }))
}

/// The document of an object whose fields hold JSON.
fn document(wish: &Wish, version: Option<u64>, fields: &[pb::Field]) -> Value {
    let fields: serde_json::Map<_, _> =
        fields.iter().map(|field| (field.key.clone(), result(&field.value, "application/json"))).collect();
    json!({ "class": wish.class, "id": wish.object, "version": version, "fields": fields })
}
