//! Chains of calls on a host whose places are taken.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use oprc_mesh::Handler;
use oprc_mesh::limits::CALL_DEPTH;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Answer, Invoke, Invoked, Op};
use tokio::time::{Instant, sleep};

use super::Turns;
use super::tests::Bed;
use crate::wasm::tests::guest;

/// The part of a host that calls come to.
struct Calls(Arc<Turns>);

impl Handler for Calls {
    fn handle(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        async move {
            let Op::Invoke(invoke) = op else { return Err(Problem::new(Code::Internal, "no call")) };
            self.0.invoke(invoke, deadline).await.map(Answer::Invoked)
        }
        .boxed()
    }
}

/// A host that runs so many turns at once, nested ones not counted.
async fn walkers(turns_max: u32) -> Bed {
    let bed = Bed::with(&guest("guest_walker"), turns_max).await;
    bed.mesh.serve(Arc::new(Calls(bed.turns.clone()))).await.unwrap();
    bed
}

/// Has a chain of so many objects begin at `first`.
async fn walk(bed: &Bed, first: String, steps: u64) -> Result<Invoked, Problem> {
    let invoke = Invoke {
        class: "C".into(),
        object: Some(first),
        method: "walk".into(),
        payload: format!("[{steps}]").into(),
        revision: bed.revision,
        ..Invoke::default()
    };
    bed.turns.invoke(invoke, Instant::now() + Duration::from_secs(30)).await
}

fn counted(invoked: Result<Invoked, Problem>) -> u64 {
    let payload = invoked.unwrap().payload.unwrap();
    std::str::from_utf8(&payload).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_completes_although_all_places_are_taken() {
    let bed = walkers(1).await;
    // it takes the only place itself
    assert_eq!(counted(walk(&bed, "a".into(), CALL_DEPTH.default).await), CALL_DEPTH.default + 1);
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_that_take_each_others_places_all_complete() {
    let bed = walkers(8).await;
    // twice as many as have a place, and each wants 17: one that was not let in tries again, one that was gets through
    let chain = async |n: u64| loop {
        match walk(&bed, format!("{n}"), CALL_DEPTH.default).await {
            Err(problem) if problem.kind() == Code::Overloaded => sleep(Duration::from_millis(50)).await,
            invoked => break counted(invoked),
        }
    };
    for count in join_all((0..16).map(chain)).await {
        assert_eq!(count, CALL_DEPTH.default + 1);
    }
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_past_the_depth_is_not_made() {
    let bed = walkers(8).await;
    assert_eq!(counted(walk(&bed, "a".into(), CALL_DEPTH.default + 1).await), 0);
    bed.odgm.shutdown().await;
}
