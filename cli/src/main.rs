//! `oprc`: the one binary of the house. It runs the roles (`up`, `host`, `gateway`, `router`) and is the client of a running
//! server.
//!
//! One command's way through this crate: [`settings`] reads flags, environment and settings file into [`args::Cli`];
//! [`run`] hands a role to [`roles`] or a client command to [`commands`], which asks the server through [`client`] and
//! prints through [`output`]. Whatever fails becomes a [`failure::Failure`] on standard error and an exit code: 0 done,
//! 1 failed, 2 wrong usage.

mod address;
mod args;
mod bench;
mod client;
mod commands;
mod consistency;
mod duration;
mod failure;
mod logging;
mod output;
mod problem;
mod project;
mod reference;
mod roles;
mod settings;
mod shell;
mod traces;

use std::process::ExitCode;

use args::{Cli, Command};
use failure::Failure;
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};

/// With it a durable turn takes a sixth less processor time than with the C library's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// See [`runtime`].
const TASKS_BETWEEN_LOOKS: u32 = 8;

fn main() -> ExitCode {
    let cli = match settings::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return error.report(),
    };
    let json = cli.command.wants_json();
    let outcome = logging::init(&cli.common, cli.command.is_role()).and_then(|logging| {
        let outcome = runtime().and_then(|runtime| runtime.block_on(run(cli)));
        drop(logging); // what waits in it comes before the error that is reported below
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// Where everything runs. The network is looked at after every few tasks, and not after tokio's 61: some of them are runs of
/// guests, which keep their thread for milliseconds, and who is to be refused should hear of it before all of them are through.
fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .event_interval(TASKS_BETWEEN_LOOKS)
        .build()
        .map_err(|error| Failure::role("start the threads", error))
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Up(args) => traces::around(args.traces.clone(), "up", roles::up(args)).await,
        Command::Host(args) => traces::around(args.traces.clone(), "host", roles::host(args)).await,
        Command::Gateway(args) => traces::around(args.traces.clone(), "gateway", roles::gateway(args)).await,
        Command::Router(args) => roles::router(args).await,
        Command::New(args) => commands::new::run(&args),
        Command::Deploy(args) => commands::deploy::run(args).await,
        Command::Classes(args) => commands::classes::list(args).await,
        Command::Describe(args) => commands::classes::describe(args).await,
        Command::Versions(args) => commands::classes::versions(args).await,
        Command::Promote(args) => commands::promote::run(args).await,
        Command::Rollback(args) => commands::rollback::run(args).await,
        Command::Invoke(args) => commands::invoke::run(args).await,
        Command::Invocation(args) => commands::invocation::run(args).await,
        Command::Get(args) => commands::get::run(args).await,
        Command::Set(args) => commands::set::run(args).await,
        Command::Ls(args) => commands::ls::run(args).await,
        Command::Rm(args) => commands::rm::run(args).await,
        Command::Watch(args) => commands::watch::run(args).await,
        Command::Logs(args) => commands::logs::run(args).await,
        Command::Dead(args) => commands::dead::run(args).await,
        Command::Status(args) => commands::status::run(args).await,
        Command::Node(args) => commands::node::run(args).await,
        Command::Key(args) => commands::key::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::BareEcho => bench::baseline::serve().await,
        Command::Reference => reference::print(),
    }
}
