//! The roles: what a serving process is made of, in the order in which it starts, and the reverse in which it stops.
//!
//! `up` is a host and a gateway in one process; unless it is told to listen or join, nobody else is on its mesh. A role serves until SIGTERM or SIGINT, then drains:
//! the gateway finishes the requests that it has, the mesh the calls, and only then the host and its grid close. A second
//! signal ends the process at once.

mod access;
mod mesh;
mod node;
mod panics;
mod signals;

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;

use oprc_gateway::{Gateway, GatewayConfig};
use oprc_mesh::{Mesh, MeshConfig, Router};
use oprc_odgm::{Joining, OdgmConfig};
use tokio_util::sync::CancellationToken;

use crate::args::{GatewayArgs, HostArgs, RouterArgs, StoreArgs, UpArgs};
use crate::failure::Failure;

use node::Node;
use signals::Signals;

/// Where client commands ask unless told.
const USUAL_SERVER: &str = "http://127.0.0.1:8080";

/// `oprc up`.
pub(crate) async fn up(args: UpArgs) -> Result<(), Failure> {
    panics::end_with_the_mesh();
    access::check(&args.access, args.listen)?;
    let mut signals = Signals::listen()?;
    let data_dir = args.store.data_dir.clone();
    let mesh = mesh::config(args.mesh, args.mesh_listen, args.access.auth)?;
    let tls = args.tls.files()?;
    let limits = args.limits.config()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let node = Node::start(odgm_config(args.store), mesh, None).await?;
    let opened = async {
        node.ready().await?;
        // the data directory is there now, and nobody else's
        let access = access::access(&args.access, args.listen, Some(&data_dir))?;
        let config = GatewayConfig { listen: args.listen, access, tls, sources: node.sources(), ..limits };
        bind(config, node.mesh().clone()).await
    };
    let gateway = match opened.await {
        Ok(gateway) => gateway,
        Err(failure) => {
            node.close().await;
            return Err(failure);
        }
    };
    let root_key_file = access::root_key_file(&args.access, Some(&data_dir));
    announce(&format!("{scheme}://{}", gateway.local_addr()), &data_dir, root_key_file.as_deref());
    let stop = CancellationToken::new();
    let serving = gateway.run(stop.clone().cancelled_owned());
    let reason = node.ended();
    serve(&mut signals, stop, serving, reason, node.close()).await
}

/// `oprc host`.
pub(crate) async fn host(args: HostArgs) -> Result<(), Failure> {
    panics::end_with_the_mesh();
    let mut signals = Signals::listen()?;
    let joining = match args.cluster.expect {
        Some(hosts) => Joining::Expect(hosts),
        None if args.mesh.links.join.is_empty() => Joining::Alone,
        None => Joining::Join,
    };
    let config = OdgmConfig {
        zone: args.zone,
        joining,
        replicas: args.cluster.replicas,
        grace: args.cluster.grace,
        ..odgm_config(args.store)
    };
    let listen = mesh::listen(args.mesh_listen, &args.mesh.links);
    let mesh = mesh::config(args.mesh, listen, false)?;
    let node = Node::start(config, mesh, args.listen).await?;
    let reason = node.ended();
    let joined = tokio::select! {
        joined = node.ready() => joined,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before it belonged to a cluster");
            node.close().await;
            return Ok(());
        }
    };
    if let Err(failure) = joined {
        node.close().await;
        return Err(failure);
    }
    tracing::info!(node = %node.id(), "the host serves");
    let stop = CancellationToken::new();
    serve(&mut signals, stop.clone(), stop.cancelled_owned(), reason, node.close()).await
}

fn odgm_config(store: StoreArgs) -> OdgmConfig {
    OdgmConfig { block_cache_mib: store.block_cache_mib as usize, ..OdgmConfig::new(store.data_dir) }
}

/// `oprc gateway`.
pub(crate) async fn gateway(args: GatewayArgs) -> Result<(), Failure> {
    panics::end_with_the_mesh();
    let mut signals = Signals::listen()?;
    if args.mesh.links.join.is_empty() && args.mesh.links.zenoh_config.is_none() {
        return Err(Failure::Usage("a gateway needs a mesh to join: --join tcp/HOST:7447".into()));
    }
    let access = access::access(&args.access, args.listen, None)?;
    let (limits, tls) = (args.limits.config()?, args.tls.files()?);
    let mesh = open_mesh(mesh::config(args.mesh, args.mesh_listen, args.access.auth)?).await?;
    let config = GatewayConfig { listen: args.listen, access, tls, ..limits };
    let gateway = bind(config, mesh.clone()).await?;
    tracing::info!(address = %gateway.local_addr(), "the gateway listens");
    let stop = CancellationToken::new();
    let serving = gateway.run(stop.clone().cancelled_owned());
    serve(&mut signals, stop, serving, std::future::pending(), async move { mesh.close().await }).await
}

/// `oprc router`.
pub(crate) async fn router(args: RouterArgs) -> Result<(), Failure> {
    panics::end_with_the_mesh();
    let mut signals = Signals::listen()?;
    let listen = mesh::listen(args.mesh_listen, &args.links);
    let config = mesh::of_links(args.links, listen, false)?;
    let router = Router::open(&config).await.map_err(|error| Failure::role("joining the mesh", error))?;
    tracing::info!(listen = config.listen.join(", "), "the router passes on");
    let stop = CancellationToken::new();
    serve(&mut signals, stop.clone(), stop.cancelled_owned(), std::future::pending(), router.close()).await
}

/// Serves until a signal comes or it can serve no more, then drains and closes.
async fn serve(
    signals: &mut Signals,
    stop: CancellationToken,
    serving: impl Future<Output = ()>,
    ended: impl Future<Output = String>,
    close: impl Future<Output = ()>,
) -> Result<(), Failure> {
    tokio::pin!(serving);
    let outcome = tokio::select! {
        () = &mut serving => Err(Failure::Stopped("serving ended by itself".into())),
        reason = ended => Err(Failure::Stopped(reason)),
        signal = signals.next() => {
            tracing::info!(signal, "draining");
            Ok(())
        }
    };
    stop.cancel();
    let drain = async {
        if outcome.is_ok() {
            serving.await;
        }
        close.await;
    };
    tokio::select! {
        () = drain => outcome,
        signal = signals.next() => Err(Failure::Stopped(format!("stopped at once by a second signal, {signal}"))),
    }
}

async fn bind(config: GatewayConfig, mesh: Mesh) -> Result<Gateway, Failure> {
    Gateway::bind(config, mesh).await.map_err(|error| Failure::role("starting the gateway", error))
}

async fn open_mesh(config: MeshConfig) -> Result<Mesh, Failure> {
    Mesh::open(config).await.map_err(|error| Failure::role("joining the mesh", error))
}

/// Tells a newcomer what to do next. A reader that went away does not matter.
fn announce(url: &str, data_dir: &Path, root_key_file: Option<&Path>) {
    let mut server =
        if url == USUAL_SERVER { String::new() } else { format!("  export OPRC_SERVER={url}\n") };
    if let Some(file) = root_key_file {
        let _ = writeln!(server, "  export OPRC_KEY_FILE={}", file.display()); // writing to a String cannot fail
    }
    let _ = writeln!(
        std::io::stdout().lock(),
        "oprc {} is ready on {url}, data in {}\n\nTry in another terminal:\n{server}  oprc deploy \
         counter.wasm --class Counter\n  oprc invoke Counter/alice increment '{{\"by\": 5}}'\n  oprc get \
         Counter/alice\n  curl {url}/api/v1/classes\n\nStop with Ctrl-C.",
        env!("CARGO_PKG_VERSION"),
        data_dir.display(),
    );
}
