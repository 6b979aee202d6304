//! `oprc bench`: a bounded load run over HTTP against a running server, and the same bytes against a bare axum handler
//! in a process of its own, in turns, so that what else happens on the machine meets both. Ratios can be compared
//! between machines; rates cannot.

pub(crate) mod baseline;
mod connection;
mod load;
mod measure;
mod report;
mod workload;

use std::path::PathBuf;

use clap::Args;
use oprc_mesh::id::ClassName;

use crate::args::{ClientArgs, Format};
use crate::failure::Failure;
use crate::output;

use baseline::Baseline;
use measure::Plan;
pub(crate) use workload::Kind;

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
    workloads: Vec<Kind>,
    /// How many clients call at once, each on a connection of its own; one measurement for each number
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u32).range(1..=CLIENTS_MAX))]
    clients: Vec<u32>,
    /// How long each measurement takes, and the bare handler's beside it as long again
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    seconds: f64,
    /// End each measurement after so many requests, if that is sooner
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How many objects `read` and `increment` go through
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=OBJECTS_MAX))]
    objects: u32,
    /// Bytes in the body of an `echo`
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=PAYLOAD_BYTES_MAX))]
    payload_bytes: u32,
    /// Deploy echo.wasm and counter.wasm from here first, under the names below
    #[arg(long, value_name = "DIR")]
    guests: Option<PathBuf>,
    /// The class with the function `echo`
    #[arg(long, value_name = "CLASS", default_value = "BenchEcho")]
    echo_class: ClassName,
    /// The class with the methods `increment` and `value`
    #[arg(long, value_name = "CLASS", default_value = "BenchCounter")]
    counter_class: ClassName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    let allowed = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= 3_600.0);
    allowed.ok_or_else(|| "seconds may be more than 0, up to 3600".to_owned())
}

pub(crate) async fn run(args: BenchArgs) -> Result<(), Failure> {
    workload::deploy(&args).await?;
    let baseline = Baseline::start().await?;
    let kinds = if args.workloads.is_empty() { Kind::ALL.to_vec() } else { args.workloads.clone() };
    let plan = Plan::new(args.seconds, args.requests);
    let steps = (kinds.len() * args.clients.len()) as u64;
    let progress = output::step_progress("measuring", steps);
    let mut results = Vec::new();
    for kind in kinds {
        let target = workload::target(&args, kind).await?;
        let bare = baseline.target(&workload::body(&args, kind));
        for &clients in &args.clients {
            progress.set_message(format!("{kind}, {clients} clients"));
            results.push(measure::measure(kind, clients, &target, &bare, &plan).await?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    baseline.stop().await;
    match args.client.output {
        Format::Json => output::json(&report::document(&args.client.server, &results))?,
        Format::Table => output::line(&report::table(&results))?,
    }
    report::verdict(&results)
}
