//! Everything that drives the product from outside, one invariant per module. What a module promises stands at its
//! head. `make test` builds the binary and runs this; `cargo test --release --test e2e NAME` runs a part.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod apart;
mod arguments;
mod asynchronous;
mod asynchronous_kept;
mod cargo_component;
mod classes;
mod cli;
mod cli_bench;
mod cli_objects;
mod components;
mod create_only;
mod deadlines;
mod durable;
mod events;
mod events_resume;
mod exact_counts;
mod exactly_once;
mod examples;
mod faults;
mod fences;
mod hot_swap;
mod identifiers;
mod isolation;
mod json_forms;
mod lifecycle;
mod limits;
mod linearizable;
mod listing;
mod locked;
mod logs;
mod message_crashes;
mod messages;
mod model;
mod nemesis;
mod nested;
mod nested_crashes;
mod new_project;
mod object_size;
mod overload;
mod poison;
mod preconditions;
mod protocol;
mod readonly;
mod recreate;
mod remove;
mod restart;
mod shell;
mod shutdown;
mod sigkill;
mod triggers;
mod turns;
mod uploads;
mod wit_types;
