//! What is measured: the calls, and the guests that answer them.

use std::net::SocketAddr;

use oprc_mesh::id::ClassName;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use crate::args::{BenchArgs, ClientArgs, Workload};
use crate::bench::load::Target;
use crate::client::{Client, JSON, OCTETS, credentials};
use crate::commands::deploy::{self, Manner};
use crate::commands::input;
use crate::failure::Failure;

const COUNTER_MANIFEST: &str = "[class]\nreadonly = [\"value\"]\n";

/// The bytes that each request of a workload carries; the bare handler gets the same.
pub(super) fn body(args: &BenchArgs, kind: Workload) -> Vec<u8> {
    match kind {
        Workload::Echo => vec![b'x'; args.payload_bytes as usize],
        Workload::Read => b"{}".to_vec(),
        Workload::Increment | Workload::Hot => br#"{"by":1}"#.to_vec(),
    }
}

/// Deploys the guests from the folder that was named, if one was.
pub(super) async fn deploy(args: &BenchArgs) -> Result<(), Failure> {
    let Some(folder) = &args.guests else { return Ok(()) };
    let client = Client::new(&args.client)?;
    let guests: [(&str, &ClassName, Option<&str>); 2] = [
        ("echo.wasm", &args.echo_class, None),
        ("counter.wasm", &args.counter_class, Some(COUNTER_MANIFEST)),
    ];
    for (file, class, manifest) in guests {
        let component = input::file(&folder.join(file))?;
        let manner = Manner { force: true, canary: None };
        deploy::deploy(&client, class, component, manifest.map(str::to_owned), manner).await?;
    }
    Ok(())
}

/// Where a workload's requests go. Its objects exist afterwards.
pub(super) async fn target(args: &BenchArgs, kind: Workload) -> Result<Target, Failure> {
    let address = resolve(&args.client).await?;
    let server = &args.client.server;
    let host =
        format!("{}:{}", server.host_str().unwrap_or_default(), server.port_or_known_default().unwrap_or(80));
    let root = server.path().trim_end_matches('/');
    let counter = format!("{root}/api/v1/classes/{}/objects", args.counter_class);
    let objects =
        |method: &'static str| (0..args.objects).map(move |n| format!("{counter}/bench-{n}/invoke/{method}"));
    let body = body(args, kind);
    let credentials = credentials(&args.client)?;
    let credentials = credentials.as_ref().and_then(|value| value.to_str().ok());
    Ok(match kind {
        Workload::Echo => {
            let path = format!("{root}/api/v1/classes/{}/functions/echo", args.echo_class);
            Target::new(address, &host, std::iter::once(path), OCTETS, credentials, &body)
        }
        Workload::Read => {
            create_objects(args).await?;
            Target::new(address, &host, objects("value"), JSON, credentials, &body)
        }
        Workload::Increment => Target::new(address, &host, objects("increment"), JSON, credentials, &body),
        Workload::Hot => Target::new(address, &host, objects("increment").take(1), JSON, credentials, &body),
    })
}

/// A read of an object that does not exist would measure something else.
async fn create_objects(args: &BenchArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    for n in 0..args.objects {
        let id = format!("bench-{n}");
        let path = ["classes", args.counter_class.as_str(), "objects", &id, "invoke", "increment"];
        let request = client.request(Method::POST, &path).header(CONTENT_TYPE, JSON).body(r#"{"by":1}"#);
        client.send(request).await?;
    }
    Ok(())
}

async fn resolve(client: &ClientArgs) -> Result<SocketAddr, Failure> {
    let server = &client.server;
    let host = server.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = server.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|source| Failure::Read { what: format!("the address of {host}"), source })?;
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| Failure::Bench(format!("{host} has no address")))
}
