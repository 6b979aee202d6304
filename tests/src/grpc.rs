//! Clients of the gRPC services, made from the `.proto` files as any project makes its own.

use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::pb::Status as Rich;

use crate::{Class, Ingress};

use self::pb::event_service_client::EventServiceClient;
use self::pb::invocation_service_client::InvocationServiceClient;
use self::pb::object_service_client::ObjectServiceClient;

/// The messages.
#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "it is generated")]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/oprc.v1.rs"));
}

/// The path of every method.
pub const METHODS: &[&str] = &include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Clients on one connection. A clone shares it.
#[derive(Clone)]
pub struct Grpc {
    /// The connection.
    pub channel: Channel,
    /// `oprc.v1.InvocationService`.
    pub invocations: InvocationServiceClient<Channel>,
    /// `oprc.v1.ObjectService`.
    pub objects: ObjectServiceClient<Channel>,
    /// `oprc.v1.EventService`.
    pub events: EventServiceClient<Channel>,
}

impl Grpc {
    /// Connects, on the port that REST has.
    ///
    /// # Panics
    /// When there is no connection.
    pub async fn to(server: &impl Ingress) -> Self {
        let url = format!("http://{}", server.http().address());
        let endpoint = Endpoint::from_shared(url).expect("an address makes a URL");
        let channel = endpoint.connect().await.expect("the server speaks HTTP/2");
        Self {
            invocations: InvocationServiceClient::new(channel.clone()),
            objects: ObjectServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            channel,
        }
    }

    /// Calls.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn invoke(&self, call: pb::Call) -> Result<pb::InvokeResponse, Status> {
        let request = pb::InvokeRequest { call: Some(call), consistency: 0 };
        self.invocations.clone().invoke(Request::new(request)).await.map(tonic::Response::into_inner)
    }
}

/// A call of a method of `object`, or of a function.
pub fn call(class: &Class, object: Option<&str>, method: &str, arguments: &Value) -> pb::Call {
    pb::Call {
        class_name: class.name.clone(),
        object: object.map(str::to_owned),
        method: method.to_owned(),
        payload: Some(pb::call::Payload::Json(arguments.to_string())),
        ..pb::Call::default()
    }
}

/// The JSON that a call gave.
///
/// # Panics
/// When it gave something else.
#[track_caller]
pub fn json_of(response: &pb::InvokeResponse) -> Value {
    let result = response.result.as_ref().and_then(|result| result.value.as_ref());
    let Some(pb::call_result::Value::Json(text)) = result else { panic!("a JSON result: {response:?}") };
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {response:?}"))
}

/// The problem in a status's details.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn problem_of(status: &Status) -> pb::Problem {
    let rich: Rich = prost::Message::decode(status.details()).expect("the details are google.rpc.Status");
    let found = rich.details.iter().find(|any| any.type_url == "type.googleapis.com/oprc.v1.Problem");
    let found = found.unwrap_or_else(|| panic!("a problem in {status:?}"));
    prost::Message::decode(found.value.as_slice()).expect("it is a problem")
}
