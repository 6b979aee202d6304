//! Groups on several hosts in one process, over links that fail.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oprc_mesh::id::NodeId;
use oprc_mesh::testing::{Faults, LocalNetwork};
use oprc_mesh::wire::Tag;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::exchange::{Exchange, Inlet};
use super::group::{Group, GroupContext, ReadError};
use super::state_machine::Machine;
use super::types::{Command, ProposalError, Reply};
use crate::checkpoint;
use crate::record::CommitBatch;
use crate::store::Reader;
use crate::testing::{Bed, commit, fields, pairs};
use crate::types::{Change, CommitReply};

const GROUP: u64 = 7;
/// How often a test begins again whose process stood still for so long that another was elected.
const ROUNDS: usize = 5;

/// One host with the one group.
struct Host {
    node: u64,
    bed: Bed,
    exchange: Arc<Exchange>,
    group: Arc<Group>,
    _stop: DropGuard,
}

impl Host {
    async fn start(network: &LocalNetwork, bed: Bed) -> Self {
        let node = bed.store.node();
        let peers = network.join(node);
        let exchange = Exchange::new(peers.clone());
        peers.receive_posts(Arc::new(Inlet(Arc::downgrade(&exchange))));
        let context = GroupContext {
            node,
            store: bed.store.clone(),
            writer: bed.writer.clone(),
            poison: bed.poison.clone(),
            exchange: exchange.clone(),
            collect: Arc::default(),
        };
        let group = Arc::new(Group::start(&context, GROUP, Machine::Partition).await.unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(exchange.clone().run(stop.clone()));
        Self { node: node.0, bed, exchange, group, _stop: stop.drop_guard() }
    }

    /// Ends it as a crash would: what is not on the disk is lost.
    async fn crash(self, network: &LocalNetwork) -> Bed {
        network.leave(NodeId(self.node));
        let Self { bed, group, exchange, .. } = self;
        let crashed = bed.crash();
        group.shutdown().await;
        drop((group, exchange));
        crashed
    }

    fn leads(&self) -> Option<u64> {
        self.group.follow().standing().leads
    }

    fn holds_lease(&self) -> bool {
        self.leads().is_some_and(|term| self.group.lease_holds(term))
    }

    async fn propose(&self, object: &str, value: &str, base: Tag) -> Result<CommitReply, ProposalError> {
        let term = self.leads().unwrap_or(0);
        let mut commit = commit(object, base, Change::Merge, &[("x", Some(value))]);
        commit.term = term;
        let (tell, told) = oneshot::channel();
        let command = Command::Commits(Arc::new(CommitBatch { commits: vec![commit], now_ms: 0 }));
        self.group.propose(command, move |outcome| drop(tell.send(outcome))).await?;
        match told.await.map_err(|_| ProposalError::Stopped)?? {
            Reply::Commits(replies) => Ok(replies[0].clone()),
            other => panic!("{other:?}"),
        }
    }

    fn value(&self, object: &str) -> Option<String> {
        let reader = Reader::newest(self.group.state().clone());
        fields(&reader, object).into_iter().next().map(|(_, value)| value)
    }
}

async fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn leader<'h>(hosts: &[&'h Host]) -> &'h Host {
    until("a leader", || hosts.iter().find(|host| host.leads().is_some()).copied()).await
}

/// A leader that may answer.
async fn leased<'h>(hosts: &[&'h Host]) -> &'h Host {
    until("a lease", || hosts.iter().find(|host| host.holds_lease()).copied()).await
}

/// Proposes until it is accepted, wherever the leader is.
async fn committed(hosts: &[&Host], object: &str, value: &str) -> Tag {
    loop {
        let leader = leader(hosts).await;
        match leader.propose(object, value, Tag::default()).await {
            Ok(CommitReply::Committed(tag)) => return tag.unwrap(),
            // an earlier try of this very value was accepted after all
            Ok(CommitReply::Rejected(_)) if leader.value(object).as_deref() == Some(value) => {
                return Tag::default();
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn three(network: &LocalNetwork) -> [Host; 3] {
    let hosts = [
        Host::start(network, Bed::new()).await,
        Host::start(network, Bed::new()).await,
        Host::start(network, Bed::new()).await,
    ];
    let voters: BTreeSet<u64> = hosts.iter().map(|host| host.node).collect();
    hosts[0].group.found(voters).await.unwrap();
    hosts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_outlives_its_leader_and_reaches_all() {
    let network = LocalNetwork::new(1);
    let [a, b, c] = three(&network).await;
    committed(&[&a, &b, &c], "first", "1").await;
    let first = leader(&[&a, &b, &c]).await.node;
    let (gone, rest): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(|host| host.node == first);
    let bed = gone.into_iter().next().unwrap().crash(&network).await;
    let [left, right] = rest.try_into().ok().unwrap();
    committed(&[&left, &right], "second", "2").await;
    assert_eq!(leader(&[&left, &right]).await.value("first").as_deref(), Some("1"));
    let back = Host::start(&network, bed).await;
    for host in [&left, &right, &back] {
        until("all is everywhere", || {
            let there = host.value("first").is_some() && host.value("second").is_some();
            there.then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_go_on_over_lossy_links_and_happen_once() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let network = LocalNetwork::new(seed);
    let [a, b, c] = three(&network).await;
    let all = [&a, &b, &c];
    committed(&all, "warm", "up").await;
    network.set_faults(Faults { lost_per_mille: 30, delay_max_ms: 8 });
    for n in 0..60 {
        committed(&all, &format!("o{n}"), "1").await;
    }
    network.heal();
    for host in all {
        until("all objects, each once", || {
            let reader = Reader::newest(host.group.state().clone());
            let (objects, _) = reader.objects(1, "o", "", 1000).unwrap();
            (objects.len() == 60 && objects.iter().all(|object| object.tag.version == 1)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_knows_that_it_may_not_answer() {
    let network = LocalNetwork::new(3);
    let [a, b, c] = three(&network).await;
    let all = [&a, &b, &c];
    committed(&all, "x", "1").await;
    let mut rounds = 0..ROUNDS;
    let old = loop {
        rounds.next().expect("a leader with a lease answers");
        let old = leased(&all).await;
        if old.group.read_index().await.is_ok() {
            break old;
        }
    };
    network.isolate(NodeId(old.node));
    let rest: Vec<&Host> = all.into_iter().filter(|host| host.node != old.node).collect();
    leader(&rest).await;
    // at the moment that another leads, the lease of the old one is over, though it may not know of the other
    assert!(!old.holds_lease());
    let error = old.group.read_index().await.unwrap_err();
    assert!(matches!(error, ReadError::NoQuorum | ReadError::NotLeader { .. }), "{error:?}");
    leased(&rest).await;
    network.heal();
    until("the old one follows", || {
        let leader = old.group.follow().standing().leader?;
        rest.iter().any(|host| host.node == leader && host.leads().is_some()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_hands_over_and_gives_up_its_lease() {
    let network = LocalNetwork::new(4);
    let [a, b, c] = three(&network).await;
    let all = [&a, &b, &c];
    committed(&all, "x", "1").await;
    let mut rounds = 0..ROUNDS;
    loop {
        rounds.next().expect("who is handed the lead takes it");
        let old = leased(&all).await;
        let to = all.into_iter().find(|host| host.node != old.node).unwrap();
        let led = until("it has caught up, or another leads", || match old.leads() {
            Some(_) => (old.group.progress().get(&to.node) == Some(&old.group.last_index())).then_some(true),
            None => Some(false),
        });
        if led.await && old.group.transfer(to.node).await.is_ok() {
            assert!(!old.holds_lease());
            leader(&all.into_iter().filter(|host| host.node != old.node).collect::<Vec<_>>()).await;
            if to.leads().is_some() {
                break;
            }
        }
    }
    committed(&all, "y", "2").await;
}

/// A replica that missed more than the log still holds gets a snapshot, while writes go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_missed_everything_catches_up_under_load() {
    let network = LocalNetwork::new(5);
    let [a, b, c] = three(&network).await;
    committed(&[&a, &b, &c], "before", "0").await;
    let leading = leader(&[&a, &b, &c]).await.node;
    let (mut others, rest): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(|host| host.node != leading);
    let leading = rest.into_iter().next().unwrap();
    let absent = others.pop().unwrap().crash(&network).await;
    let third = others.pop().unwrap();
    let big = "v".repeat(20_000);
    for n in 0..1_300 {
        committed(&[&leading, &third], &format!("o{n:04}"), &big).await;
    }
    for host in [&leading, &third] {
        checkpoint::take(&host.bed.store.state, vec![host.group.clone()]).await.unwrap();
    }
    until("a purged log", || leading.group.purged().filter(|upto| *upto > 50)).await;
    let back = Host::start(&network, absent).await;
    let everyone = [&leading, &third, &back];
    let mut more = 0;
    // writes go on until the replica has all, including what was written meanwhile
    while back.value("o1299").is_none() {
        committed(&everyone, &format!("more{more}"), "1").await;
        more += 1;
    }
    let last = format!("more{more}");
    committed(&everyone, &last, "1").await;
    until("the newest too", || back.value(&last)).await;
    assert_eq!(back.value("o0000"), Some(big));
    assert_eq!(fields(&Reader::newest(back.group.state().clone()), "before"), pairs(&[("x", "0")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go() {
    let network = LocalNetwork::new(6);
    let a = Host::start(&network, Bed::new()).await;
    a.group.found([a.node].into()).await.unwrap();
    committed(&[&a], "x", "1").await;
    assert!(a.holds_lease(), "a sole voter needs no other's word");
    let (b, c) = (Host::start(&network, Bed::new()).await, Host::start(&network, Bed::new()).await);
    for host in [&b, &c] {
        a.group.add_learner(host.node).await.unwrap();
        until("it follows", || host.value("x")).await;
    }
    assert_eq!(a.group.members().learners, [b.node, c.node].into());
    let all: BTreeSet<u64> = [a.node, b.node, c.node].into();
    a.group.change_voters(all.clone()).await.unwrap();
    let members = a.group.members();
    assert_eq!((members.voters, members.joint), (all, false));
    // the leader itself leaves: another takes over
    a.group.change_voters([b.node, c.node].into()).await.unwrap();
    let new = leader(&[&b, &c]).await;
    until("the old one leads no more", || a.leads().is_none().then_some(())).await;
    assert!(!a.holds_lease());
    committed(&[&b, &c], "y", "2").await;
    assert_eq!(new.group.members().voters, [b.node, c.node].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_work_rests_and_wakes_for_work_and_for_a_lost_leader() {
    let network = LocalNetwork::new(8);
    let [a, b, c] = three(&network).await;
    let all_asleep = || [&a, &b, &c].iter().all(|host| host.group.is_asleep()).then_some(());
    let term = async || leader(&[&a, &b, &c]).await.leads();
    let mut rounds = 0..ROUNDS;
    let first = loop {
        let round = rounds.next().expect("a group that rests elects nobody");
        committed(&[&a, &b, &c], &format!("x{round}"), "1").await;
        let before = term().await;
        until("all rest", all_asleep).await;
        committed(&[&a, &b, &c], &format!("y{round}"), "2").await;
        // nobody stands for election while the leader's host is there, and work wakes the same leader
        if term().await == before {
            break leader(&[&a, &b, &c]).await.node;
        }
    };
    committed(&[&a, &b, &c], "y", "2").await;
    until("all rest again", all_asleep).await;
    let (gone, rest): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(|host| host.node == first);
    drop(gone.into_iter().next().unwrap().crash(&network).await);
    let [left, right] = rest.try_into().ok().unwrap();
    let new = leader(&[&left, &right]).await;
    assert_eq!(new.value("y").as_deref(), Some("2"));
    new.group.read_index().await.unwrap();
}

#[path = "hand_over_tests.rs"]
mod hand_over_tests;
