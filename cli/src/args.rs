//! The command line, declared once: flags, their environment variables, defaults and help. The reference page is made
//! from it.

mod access;
mod client;
mod cluster;
mod dead;
mod invoke;
mod jwt;
mod lifecycle;
mod limits;
mod logs;
mod mesh;
mod project;
mod traces;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use oprc_mesh::id::{ClassName, FieldKey};

use crate::address::{Address, Assignment, ObjectAddress};
use crate::consistency::Consistency;

pub(crate) use access::{AccessArgs, CreateKeyArgs, KeyArgs, KeyWish, RevokeKeyArgs, RotateKeyArgs, TlsArgs};
pub(crate) use client::{ClientArgs, Format, SERVER_HEADING, Secret};
pub(crate) use cluster::{ClusterArgs, NodeArgs, NodeWish};
pub(crate) use dead::{DeadArgs, DeadWish};
pub(crate) use invoke::{InvocationArgs, InvokeArgs};
pub(crate) use jwt::JwtArgs;
pub(crate) use lifecycle::{DeployArgs, PromoteArgs, RollbackArgs};
pub(crate) use limits::LimitArgs;
pub(crate) use logs::LogsArgs;
pub(crate) use mesh::MeshSecretArgs;
pub(crate) use project::{CompletionsArgs, Language, ManArgs, NewArgs, Shell};
pub(crate) use traces::TraceArgs;
pub(crate) use watch::WatchArgs;

/// A WebAssembly function host with a built-in state grid
///
/// Upload a component; its exported functions become methods of durable objects. `oprc up` starts everything in one
/// process; the other commands talk to a running server.
#[derive(Debug, Parser)]
#[command(name = "oprc", version, max_term_width = 110, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// A TOML file with settings, for flags that are given neither on the command line nor in the environment
    #[arg(long, global = true, env = "OPRC_CONFIG", value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config: Option<PathBuf>,
    /// What is logged on standard error, such as `debug` or `info,oprc_host=trace`; `RUST_LOG` counts too [default: info
    /// for roles, warn for client commands]
    #[arg(long, global = true, env = "OPRC_LOG", value_name = "FILTER", help_heading = "Everywhere")]
    pub(crate) log: Option<String>,
    /// How it is logged
    #[arg(
        long,
        global = true,
        env = "OPRC_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "human",
        help_heading = "Everywhere"
    )]
    pub(crate) log_format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object per line
    Json,
}

/// All that `oprc` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: catalog, host and gateway
    Up(UpArgs),
    /// Run a host: it holds objects and runs functions
    Host(HostArgs),
    /// Run a gateway: it takes HTTP and calls hosts over the mesh
    Gateway(GatewayArgs),
    /// Run a router: hosts and gateways that reach it reach each other
    Router(RouterArgs),
    /// Make a guest project that builds and deploys as it is
    New(NewArgs),
    /// Upload a component as a class
    Deploy(DeployArgs),
    /// List the classes
    Classes(ClientArgs),
    /// Show a class with its methods
    Describe(ClassArgs),
    /// List the deployments of a class
    Versions(ClassArgs),
    /// Make the canary of a class serve all its objects
    Promote(PromoteArgs),
    /// Bring back an earlier version of a class, or end its canary
    Rollback(RollbackArgs),
    /// Call a method of an object, or a function of a class
    Invoke(InvokeArgs),
    /// Show where an asynchronous call stands, or wait for its result
    Invocation(InvocationArgs),
    /// Print an object, or one field's bytes
    Get(GetArgs),
    /// Set fields of an object, all together
    Set(SetArgs),
    /// List the objects of a class
    Ls(LsArgs),
    /// Remove a class, an object, or one field
    Rm(RmArgs),
    /// Show events of an object or a class as they come
    Watch(WatchArgs),
    /// Show what a class's guests print
    Logs(LogsArgs),
    /// Messages that are tried no more: list them, try them again, forget them
    Dead(DeadArgs),
    /// Show nodes, partitions, leaders and lag
    Status(ClientArgs),
    /// Take a host out of the cluster, or back
    Node(NodeArgs),
    /// Keys of those who may use the cluster: make, list, rotate, revoke them
    Key(KeyArgs),
    /// Measure a running server against a bare HTTP handler
    Bench(BenchArgs),
    /// Print a script by which a shell completes commands and flags
    Completions(CompletionsArgs),
    /// Print the manual page of oprc or of a command
    Man(ManArgs),
    /// The bare HTTP handler that `bench` measures against
    #[command(hide = true)]
    BareEcho,
    /// Print the reference page of the command line
    #[command(hide = true)]
    Reference,
}

impl Command {
    /// Whether it serves, rather than asks a server.
    pub(crate) fn is_role(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Host(_) | Self::Gateway(_) | Self::Router(_))
    }

    /// Whether failures should be told as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        let client = match self {
            Self::New(args) => return args.output == Format::Json,
            Self::Classes(client) | Self::Status(client) => client,
            Self::Describe(args) | Self::Versions(args) => &args.client,
            Self::Deploy(args) => &args.client,
            Self::Promote(args) => &args.client,
            Self::Rollback(args) => &args.client,
            Self::Invoke(args) => &args.client,
            Self::Invocation(args) => &args.client,
            Self::Get(args) => &args.client,
            Self::Set(args) => &args.client,
            Self::Ls(args) => &args.client,
            Self::Rm(args) => &args.client,
            Self::Watch(args) => &args.client,
            Self::Logs(args) => &args.client,
            Self::Node(args) => &args.client,
            Self::Dead(args) => &args.client,
            Self::Key(args) => match args.wish.client() {
                Some(client) => client,
                None => return false,
            },
            Self::Bench(args) => &args.client,
            Self::Up(_)
            | Self::Host(_)
            | Self::Gateway(_)
            | Self::Router(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::BareEcho
            | Self::Reference => {
                return false;
            }
        };
        client.output == Format::Json
    }
}

/// `oprc up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, env = "OPRC_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
    /// Where the mesh reaches this process, so that gateways can join it; nowhere unless given
    #[arg(long, env = "OPRC_MESH_LISTEN", value_name = "ENDPOINT", value_delimiter = ',')]
    pub(crate) mesh_listen: Vec<String>,
}

/// `oprc host`.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
    /// Where the mesh reaches this host; may be given more than once [default: what the Zenoh configuration file says, or else
    /// tcp/127.0.0.1:7447]
    #[arg(long, env = "OPRC_MESH_LISTEN", value_name = "ENDPOINT", value_delimiter = ',')]
    pub(crate) mesh_listen: Vec<String>,
    /// The failure zone of this host
    #[arg(long, env = "OPRC_ZONE", value_name = "ZONE", default_value = "")]
    pub(crate) zone: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Where this host answers /healthz, /readyz and /metrics; nowhere unless given
    #[arg(long, env = "OPRC_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `oprc gateway`.
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// Where it listens; port 0 takes a free one
    #[arg(long, env = "OPRC_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
    /// Where the mesh reaches this gateway, so that clients that speak Zenoh can ask it; nowhere unless given
    #[arg(long, env = "OPRC_MESH_LISTEN", value_name = "ENDPOINT", value_delimiter = ',')]
    pub(crate) mesh_listen: Vec<String>,
}

/// `oprc router`.
#[derive(Debug, Args)]
pub(crate) struct RouterArgs {
    /// Where the mesh reaches this router; may be given more than once [default: what the Zenoh configuration file says, or
    /// else tcp/127.0.0.1:7447]
    #[arg(long, env = "OPRC_MESH_LISTEN", value_name = "ENDPOINT", value_delimiter = ',')]
    pub(crate) mesh_listen: Vec<String>,
    #[command(flatten)]
    pub(crate) links: LinkArgs,
}

/// Where a host keeps its objects.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Everything durable lies here; one process at a time uses it
    #[arg(long, env = "OPRC_DATA_DIR", value_name = "DIR", default_value = ".oprc")]
    pub(crate) data_dir: PathBuf,
    /// Memory for caching stored data, in MiB
    #[arg(long, env = "OPRC_BLOCK_CACHE_MIB", value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) block_cache_mib: u32,
}

/// How a process joins the mesh.
#[derive(Debug, Args)]
pub(crate) struct MeshArgs {
    #[command(flatten)]
    pub(crate) links: LinkArgs,
    /// Keeps clusters on one network apart
    #[arg(long, env = "OPRC_CLUSTER", value_name = "NAME", default_value = "")]
    pub(crate) cluster: String,
}

/// How a process is linked with others.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// An endpoint of another process to join, such as tcp/10.0.0.1:7447; may be given more than once
    #[arg(long, env = "OPRC_JOIN", value_name = "ENDPOINT", value_delimiter = ',')]
    pub(crate) join: Vec<String>,
    /// A Zenoh configuration file, for TLS and access control
    #[arg(long, env = "OPRC_ZENOH_CONFIG", value_name = "FILE")]
    pub(crate) zenoh_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) secret: MeshSecretArgs,
}

/// Commands about one class.
#[derive(Debug, Args)]
pub(crate) struct ClassArgs {
    /// The class
    #[arg(value_name = "CLASS")]
    pub(crate) class: ClassName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The object
    #[arg(value_name = "CLASS/ID")]
    pub(crate) address: ObjectAddress,
    /// Only this field: its bytes as they are
    #[arg(value_name = "FIELD")]
    pub(crate) field: Option<FieldKey>,
    /// How new what is read must be
    #[arg(long, value_name = "CONSISTENCY", default_value = "lease")]
    pub(crate) consistency: Consistency,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc set`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  oprc set Counter/alice note=hello count=10\n  oprc set Album/cover picture=@cover.png"
)]
pub(crate) struct SetArgs {
    /// The object; the first write creates it
    #[arg(value_name = "CLASS/ID")]
    pub(crate) address: ObjectAddress,
    /// The value is stored as it stands; @FILE stands for a file's bytes, @- for standard input's, @@ for a leading @
    #[arg(value_name = "FIELD=VALUE", required = true)]
    pub(crate) assignments: Vec<Assignment>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The class
    #[arg(value_name = "CLASS")]
    pub(crate) class: ClassName,
    /// Only objects whose ids begin so
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// How many to list at the most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Go on where an earlier listing ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// An object; or a class, whose objects stay and come back when it is deployed again
    #[arg(value_name = "CLASS[/ID]")]
    pub(crate) address: Address,
    /// Only this field of the object
    #[arg(value_name = "FIELD")]
    pub(crate) field: Option<FieldKey>,
    /// With a class: remove its objects too
    #[arg(long, conflicts_with = "field")]
    pub(crate) purge: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Clients of one measurement, at the most: each has a connection of its own.
const CLIENTS_MAX: i64 = 4_096;
/// Objects that a workload goes through, at the most.
const OBJECTS_MAX: i64 = 1_000_000;
/// The body of an echo, at the most.
const PAYLOAD_BYTES_MAX: i64 = 1_000_000;

/// `oprc bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What is measured; everything unless named
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workloads: Vec<Workload>,
    /// How many clients call at once, each on a connection of its own; one measurement for each number
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u32).range(1..=CLIENTS_MAX))]
    pub(crate) clients: Vec<u32>,
    /// How long each measurement takes, and the bare handler's beside it as long again
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: f64,
    /// End each measurement after so many requests, if that is sooner
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// How many objects `read` and `increment` go through
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=OBJECTS_MAX))]
    pub(crate) objects: u32,
    /// Bytes in the body of an `echo`
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=PAYLOAD_BYTES_MAX))]
    pub(crate) payload_bytes: u32,
    /// Deploy echo.wasm and counter.wasm from here first, under the names below
    #[arg(long, value_name = "DIR")]
    pub(crate) guests: Option<PathBuf>,
    /// The class with the function `echo`
    #[arg(long, value_name = "CLASS", default_value = "BenchEcho")]
    pub(crate) echo_class: ClassName,
    /// The class with the methods `increment` and `value`
    #[arg(long, value_name = "CLASS", default_value = "BenchCounter")]
    pub(crate) counter_class: ClassName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    let allowed = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= 3_600.0);
    allowed.ok_or_else(|| "seconds may be more than 0, up to 3600".to_owned())
}

/// What `oprc bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// A function that gives back its bytes: the cost of a call
    Echo,
    /// A read-only method: the cost of a call with an object
    Read,
    /// A method that adds one, durably: the cost of a commit
    Increment,
    /// The same on one object for all clients: what one object can take
    Hot,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Echo, Self::Read, Self::Increment, Self::Hot];
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Read => "read",
            Self::Increment => "increment",
            Self::Hot => "hot",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_declaration_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_found_before_anything_is_asked() {
        for line in [
            "oprc get Counter",
            "oprc set Counter/a",
            "oprc set Counter/a x",
            "oprc ls C --limit 0",
            "oprc x",
        ] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_negative_number_is_a_payload() {
        let cli = Cli::try_parse_from(["oprc", "invoke", "A/b", "add", "-5"]).unwrap();
        let Command::Invoke(args) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(args.payload.as_deref(), Some("-5"));
    }
}
