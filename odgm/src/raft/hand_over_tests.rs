//! Leaders that stop or are cut off, as the partition's callers see it.

use oprc_mesh::Peers;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::Consistency;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::drain::{Led, drain};
use crate::leadership::Leaderships;
use crate::partition::Partition;

/// A partition on a host's group, with its proposer running.
fn partition(host: &Host) -> Arc<Partition> {
    let (partition, proposer) =
        Partition::new(host.group.clone(), host.bed.poison.clone(), 2, CancellationToken::new());
    partition.open();
    tokio::spawn(partition.follow(Arc::new(Leaderships::new(NodeId(host.node)))));
    tokio::spawn(proposer.run(CancellationToken::new()));
    Arc::new(partition)
}

/// Commits a new object through a partition.
async fn commit_to(partition: &Partition, object: &str) -> Result<CommitReply, Problem> {
    let record = commit(object, Tag::default(), Change::Merge, &[("x", Some("1"))]);
    partition
        .commit(crate::types::Commit {
            term: partition.leadership()?,
            class: record.class,
            revision: record.revision,
            object: oprc_mesh::id::ObjectId::parse(object).unwrap(),
            base: Tag::default(),
            change: Change::Merge,
            writes: record.writes,
            invocation: String::new(),
            outcome: None,
            emitted: Vec::new(),
            post: crate::mail::Post::default(),
        })
        .await
}

async fn ready(host: &Host) -> Arc<Partition> {
    let partition = partition(host);
    until("the partition knows that it leads", || partition.leadership().ok()).await;
    partition
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_drains_leads_nothing_and_loses_no_commit() {
    let network = LocalNetwork::new(11);
    let [a, b, c] = three(&network).await;
    let all = [&a, &b, &c];
    committed(&all, "x", "1").await;
    let old = leader(&all).await;
    let partition = ready(old).await;
    let peers: Arc<dyn Peers> = old.exchange.peers().clone();
    // commits go on while it drains: each is decided, or certainly did not run
    let writing = {
        let partition = partition.clone();
        tokio::spawn(async move {
            let mut decided = 0;
            loop {
                match commit_to(&partition, &format!("o{decided}")).await {
                    Ok(CommitReply::Committed(_)) => decided += 1,
                    Ok(other) => panic!("{other:?}"),
                    Err(problem) => return (decided, problem),
                }
            }
        })
    };
    let led = Led { group: old.group.clone(), partition: Some(partition.clone()) };
    assert_eq!(drain(vec![led], &peers, NodeId(old.node)).await, 0);
    let (decided, problem) = writing.await.unwrap();
    assert_eq!((problem.kind(), problem.effect()), (Code::NotLeader, Effect::NotRun), "{problem}");
    let rest: Vec<&Host> = all.into_iter().filter(|host| host.node != old.node).collect();
    let new = leader(&rest).await;
    committed(&all, "y", "2").await;
    for n in 0..decided {
        until("what was acknowledged is there", || new.value(&format!("o{n}"))).await;
    }
    // it drains a second time, and leads nothing
    let led = Led { group: old.group.clone(), partition: Some(partition) };
    assert_eq!(drain(vec![led], &peers, NodeId(old.node)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_has_nobody_to_hand_over_to() {
    let network = LocalNetwork::new(12);
    let a = Host::start(&network, Bed::new()).await;
    a.group.found([a.node].into()).await.unwrap();
    committed(&[&a], "x", "1").await;
    let peers: Arc<dyn Peers> = a.exchange.peers().clone();
    let led = Led { group: a.group.clone(), partition: None };
    assert_eq!(drain(vec![led], &peers, NodeId(a.node)).await, 0);
    committed(&[&a], "y", "2").await;
    assert!(!a.group.is_cut_off());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_refuses_soon_and_leaves_nobody_waiting() {
    let network = LocalNetwork::new(13);
    let [a, b, c] = three(&network).await;
    let all = [&a, &b, &c];
    committed(&all, "x", "1").await;
    let mut rounds = 0..ROUNDS;
    let (old, partition) = loop {
        let round = rounds.next().expect("a commit that is proposed before its leader knows");
        let old = leased(&all).await;
        let partition = partition(old);
        until("the partition knows who leads", || (partition.leadership().ok() == old.leads()).then_some(()))
            .await;
        let before = commit_to(&partition, &format!("before{round}")).await;
        if before.is_err() || partition.confirm(Consistency::Linearizable).await.is_err() {
            continue;
        }
        for host in all {
            network.isolate(NodeId(host.node)); // nobody has a majority
        }
        // proposed before it knows: nobody can tell what becomes of it
        let undecided = commit_to(&partition, &format!("during{round}")).await.unwrap_err();
        if undecided.effect() == Effect::Unknown {
            assert_eq!(undecided.kind(), Code::NoQuorum, "{undecided}");
            break (old, partition);
        }
        network.heal();
    };
    // and now it knows: nothing is taken in, and nothing is read
    assert!(old.group.is_cut_off());
    let refused = commit_to(&partition, "after").await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (Code::NoQuorum, Effect::NotRun), "{refused}");
    let unread = partition.confirm(Consistency::Lease).await.unwrap_err();
    assert_eq!((unread.kind(), unread.effect()), (Code::NoQuorum, Effect::NotRun), "{unread}");
    assert!(partition.stale_ms().is_some_and(|ms| ms > 0), "stale by the time that it was alone");
    network.heal();
    committed(&all, "again", "1").await;
    until("what was refused is nowhere", || {
        let new = all.iter().find(|host| host.value("again").is_some())?;
        new.value("after").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_rested_takes_in_work_at_once() {
    let network = LocalNetwork::new(14);
    let [a, b, c] = three(&network).await;
    let all = [&a, &b, &c];
    committed(&all, "x", "1").await;
    let mut rounds = 0..ROUNDS;
    let (old, partition) = loop {
        rounds.next().expect("a group that rests elects nobody");
        let old = leader(&all).await;
        let partition = ready(old).await;
        let term = old.leads();
        until("all rest", || all.iter().all(|host| host.group.is_asleep()).then_some(())).await;
        if term.is_some() && old.leads() == term {
            break (old, partition);
        }
    };
    // it has heard of nobody for long, and knows why
    assert!(!old.group.is_cut_off());
    assert!(matches!(commit_to(&partition, "y").await, Ok(CommitReply::Committed(_))));
    assert!(!old.group.is_cut_off());
    until("all rest again", || all.iter().all(|host| host.group.is_asleep()).then_some(())).await;
    assert_eq!(partition.confirm(Consistency::Lease).await.ok(), old.leads());
}
