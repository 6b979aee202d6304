//! `oprc bench`: a bounded load run over HTTP against a running server, and the same bytes against a bare axum handler
//! in a process of its own, in turns, so that what else happens on the machine meets both. Ratios can be compared
//! between machines; rates cannot.

pub(crate) mod baseline;
mod connection;
mod load;
mod measure;
mod report;
mod workload;

use crate::args::{BenchArgs, Format, Workload};
use crate::failure::Failure;
use crate::output;

use baseline::Baseline;
use measure::Plan;

pub(crate) async fn run(args: BenchArgs) -> Result<(), Failure> {
    workload::deploy(&args).await?;
    let baseline = Baseline::start().await?;
    let kinds = if args.workloads.is_empty() { Workload::ALL.to_vec() } else { args.workloads.clone() };
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
