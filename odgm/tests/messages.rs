//! Messages between real partitions: through outboxes, couriers, other hosts, restarts.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::hosts::{PATIENCE, leader, start, stop};
use common::{commit, committed, open, tag, write};
use futures::future::join_all;
use oprc_mesh::clock::now_ms;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::testing::LocalNetwork;
use oprc_mesh::wire::Tag;
use oprc_odgm::{
    Change, Commit, CommitReply, DeadAction, DeadStep, Joining, Message, Odgm, OdgmConfig, Outgoing,
    Partition, Post, ReadyKey, Rejection, Settle, Verdict,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

fn outgoing(from: &str, to: &str, to_group: u64, said: &str) -> Outgoing {
    let message = Message {
        from_class: "S".into(),
        from_object: from.into(),
        class: "R".into(),
        object: to.into(),
        method: "m".into(),
        payload: said.to_owned().into(),
        ..Message::default()
    };
    Outgoing { message, to_group, ..Outgoing::default() }
}

/// A commit that writes a field and does all of `post`.
fn with(partition: &Partition, object: &str, post: Post) -> Commit {
    let base = tag(&partition.reader(), object);
    Commit { post, ..commit(partition, object, base, Change::Merge, vec![write("sent", Some("1"))]) }
}

fn sending(sends: Vec<Outgoing>) -> Post {
    Post { sends, ..Post::default() }
}

/// Runs what is ready in a partition as the host would: each message once, and settles it. Gives what was said, by pair.
async fn run_ready(partition: &Partition, seen: &mut BTreeMap<String, Vec<String>>) -> usize {
    let Ok(term) = partition.leadership() else { return 0 };
    let mut run = 0;
    for key in partition.ready_keys(ReadyKey::default(), 64).unwrap() {
        let Some(inbound) = partition.inbound(key).unwrap() else { continue };
        let settle = Settle { ready: key, verdict: Verdict::Consumed as i32, ..Settle::default() };
        if let Ok(CommitReply::Committed(_)) = partition.settle(term, settle).await {
            let message = inbound.message;
            let pair = format!("{}>{}", message.from_object, message.object);
            seen.entry(pair).or_default().push(String::from_utf8(message.payload.to_vec()).unwrap());
            run += 1;
        }
    }
    run
}

async fn run_until(hosts: &[Arc<Odgm>], count: usize, seen: &mut BTreeMap<String, Vec<String>>) {
    let end = Instant::now() + PATIENCE;
    let total = |seen: &BTreeMap<String, Vec<String>>| seen.values().map(Vec::len).sum::<usize>();
    while total(seen) < count {
        assert!(Instant::now() < end, "{} of {count} messages came: {seen:?}", total(seen));
        let mut run = 0;
        for host in hosts {
            for partition in host.partitions() {
                run += run_ready(&partition, seen).await;
            }
        }
        if run == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_cross_partitions_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = BTreeMap::new();
    let mut host = open(dir.path()).await;
    let groups: Vec<u64> = host.partitions().iter().map(|partition| partition.group()).collect();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..4 {
        for (n, group) in groups.iter().take(4).enumerate() {
            let partition = host.partition(*group).unwrap();
            let (from, mut sends) = (format!("s{n}"), Vec::new());
            for (m, to_group) in groups.iter().take(4).enumerate() {
                let (to, said) = (format!("r{m}"), format!("{round}"));
                sends.push(outgoing(&from, &to, *to_group, &said));
                expected.entry(format!("{from}>{to}")).or_default().push(said);
            }
            committed(&partition, with(&partition, &from, sending(sends))).await;
        }
        if round % 2 == 1 {
            // stopped while couriers are under way, and nothing was run yet
            timeout(PATIENCE, host.shutdown()).await.unwrap();
            drop(host);
            host = open(dir.path()).await;
        }
        let all = [host];
        run_until(&all, 7 * (round + 1), &mut seen).await;
        [host] = all;
    }
    let all = [host];
    run_until(&all, 64, &mut seen).await;
    assert_eq!(seen, expected);
    sleep(Duration::from_millis(200)).await;
    run_until(&all, 64, &mut seen).await;
    assert_eq!(seen, expected, "nothing comes again");
    let [host] = all;
    timeout(PATIENCE, host.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_wait_for_their_time_and_their_owner_may_think_again() {
    let dir = tempfile::tempdir().unwrap();
    let host = open(dir.path()).await;
    let partition = host.partitions().remove(0);
    let here = partition.group();
    let at = |due_ms, key: &str, said| Outgoing {
        due_ms,
        key: Some(key.to_owned()),
        ..outgoing("s", "r", here, said)
    };
    // far off, and then set to near: a disk may take its time for what is between
    let begin = now_ms();
    let sends = ["a", "b", "c", "d"].map(|key| at(begin + 60_000, key, "never"));
    committed(&partition, with(&partition, "s", sending(sends.into()))).await;
    assert!(partition.reader().has_timer(1, &common::id("s"), "d").unwrap());
    let begin = now_ms() + 3_000;
    let sends = [("b", 300, "later"), ("c", 200, "sooner"), ("a", 250, "replaced")];
    let sends = sends.map(|(key, ms, said)| at(begin + ms, key, said));
    committed(&partition, with(&partition, "s", sending(sends.into()))).await;
    let cancel = |key: &str| Post { cancels: vec![key.to_owned()], ..Post::default() };
    committed(&partition, with(&partition, "s", cancel("d"))).await;
    // who was told that there is a timer must not be wrong: the turn runs again
    let again = partition.commit(with(&partition, "s", cancel("d"))).await.unwrap();
    assert!(matches!(again, CommitReply::Rejected(Rejection::Base { .. })), "{again:?}");
    let mut seen = BTreeMap::new();
    run_until(std::slice::from_ref(&host), 3, &mut seen).await;
    assert!(now_ms() >= begin + 300, "a timer is never early");
    assert_eq!(seen["s>r"], ["sooner", "replaced", "later"]);
    assert!(!partition.reader().has_timer(1, &common::id("s"), "a").unwrap());
    timeout(PATIENCE, host.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_settles_a_message_first_decides_and_others_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let host = open(dir.path()).await;
    let partition = host.partitions().remove(0);
    let here = partition.group();
    committed(&partition, with(&partition, "s", sending(vec![outgoing("s", "r", here, "x")]))).await;
    let key = partition.ready_keys(ReadyKey::default(), 9).unwrap()[0];
    let settle = Settle { ready: key, verdict: Verdict::Consumed as i32, ..Settle::default() };
    let post = Post { settle: Some(settle), ..Post::default() };
    let turn = || {
        let sends = vec![outgoing("r", "other", here, "from the turn")];
        let post = Post { sends, ..post.clone() };
        Commit {
            post,
            ..commit(
                &partition,
                "r",
                tag(&partition.reader(), "r"),
                Change::Merge,
                vec![write("n", Some("1"))],
            )
        }
    };
    let before = turn();
    assert!(matches!(partition.commit(turn()).await.unwrap(), CommitReply::Committed(Some(_))));
    for late in [before, turn()] {
        assert_eq!(partition.commit(late).await.unwrap(), CommitReply::Rejected(Rejection::Settled));
    }
    assert_eq!(tag(&partition.reader(), "r").version, 1);
    let mut seen = BTreeMap::new();
    run_until(std::slice::from_ref(&host), 1, &mut seen).await;
    assert_eq!(seen["r>other"], ["from the turn"]);
    timeout(PATIENCE, host.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_messages_alone_leaves_the_object_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let host = open(dir.path()).await;
    let partition = host.partitions().remove(0);
    let here = partition.group();
    committed(&partition, with(&partition, "s", Post::default())).await;
    let before = tag(&partition.reader(), "s");
    let untouched = |base, sends| Commit {
        post: Post { sends, ..Post::default() },
        ..commit(&partition, "s", base, Change::Keep, Vec::new())
    };
    let reply = partition.commit(untouched(before, vec![outgoing("s", "r", here, "x")])).await.unwrap();
    assert_eq!(reply, CommitReply::Committed(Some(before)));
    assert_eq!(tag(&partition.reader(), "s"), before);
    // it is fenced as any other is
    let stale = untouched(Tag::default(), vec![outgoing("s", "r", here, "y")]);
    let reply = partition.commit(stale).await.unwrap();
    assert_eq!(reply, CommitReply::Rejected(Rejection::Base { current: before }));
    let absent = Commit { object: common::id("nobody"), ..untouched(Tag::default(), Vec::new()) };
    assert_eq!(partition.commit(absent).await.unwrap(), CommitReply::Committed(None));
    assert_eq!(tag(&partition.reader(), "nobody").version, 0);
    let mut seen = BTreeMap::new();
    run_until(std::slice::from_ref(&host), 1, &mut seen).await;
    assert_eq!(seen["s>r"], ["x"]);
    timeout(PATIENCE, host.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let host = open(dir.path()).await;
    let partition = host.partitions().remove(0);
    let here = partition.group();
    let sends = (0..40).map(|n| outgoing("s", &format!("r{n:02}"), here, &n.to_string())).collect();
    committed(&partition, with(&partition, "s", sending(sends))).await;
    let term = partition.leadership().unwrap();
    for ready in partition.ready_keys(ReadyKey::default(), 99).unwrap() {
        let problem = Some(Problem::new(Code::Trap, "x".repeat(10_000)));
        let settle = Settle { ready, verdict: Verdict::Dead as i32, problem, ..Settle::default() };
        partition.settle(term, settle).await.unwrap();
    }
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| *key);
        let (page, more) = partition.dead_letters("R", after, 7, 1 << 20).unwrap();
        assert!(page.len() <= 7);
        found.extend(page);
        if !more {
            break;
        }
    }
    let said: Vec<_> =
        found.iter().map(|(_, letter)| String::from_utf8(letter.message.payload.to_vec()).unwrap()).collect();
    assert_eq!(said, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(found[0].1.problem.detail.len() < 5_000, "what is long is cut");
    assert!(partition.dead_letters("Other", None, 7, 1 << 20).unwrap().0.is_empty());
    let step = |n: std::ops::Range<usize>, action: DeadAction| DeadStep {
        class: "R".into(),
        letters: found[n].iter().map(|(key, _)| *key).collect(),
        action: action as i32,
    };
    assert_eq!(partition.change_dead_letters(step(0..10, DeadAction::Purge)).await.unwrap(), 10);
    assert_eq!(partition.change_dead_letters(step(0..20, DeadAction::Retry)).await.unwrap(), 10);
    let mut seen = BTreeMap::new();
    run_until(std::slice::from_ref(&host), 10, &mut seen).await;
    assert_eq!(partition.dead_letters("R", None, 99, 1 << 20).unwrap().0.len(), 20);
    timeout(PATIENCE, host.shutdown()).await.unwrap();
}

/// Commits on whichever host leads the group, until it is done.
async fn send_somewhere(hosts: &[Arc<Odgm>], group: u64, from: &str, sends: &[Outgoing]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let partition = leader(hosts, group).await;
        let reply = partition.commit(with(&partition, from, sending(sends.to_vec()))).await;
        if let Ok(CommitReply::Committed(_)) = reply {
            return;
        }
        assert!(Instant::now() < end, "nobody commits in group {group}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A host goes down with messages under way in both directions, others take over, and it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn messages_cross_hosts_that_come_and_go() {
    let network = LocalNetwork::new(7);
    let dirs: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let config = |dir: &TempDir| OdgmConfig { joining: Joining::Expect(3), ..OdgmConfig::new(dir.path()) };
    let mut hosts = join_all(dirs.iter().map(|dir| start(&network, config(dir)))).await;
    for ready in join_all(hosts.iter().map(|host| host.ready())).await {
        ready.unwrap();
    }
    let groups: Vec<u64> = hosts[0].catalog().view().partitions().map(|info| info.group).take(6).collect();
    assert_eq!(groups.len(), 6);
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen = BTreeMap::new();
    let mut count = 0;
    for round in 0..6 {
        for (n, group) in groups.iter().enumerate() {
            let from = format!("s{n}");
            let sends: Vec<_> = groups
                .iter()
                .enumerate()
                .map(|(m, to)| outgoing(&from, &format!("r{m}"), *to, &round.to_string()))
                .collect();
            send_somewhere(&hosts, *group, &from, &sends).await;
            for m in 0..groups.len() {
                expected.entry(format!("{from}>r{m}")).or_default().push(round.to_string());
            }
            count += sends.len();
        }
        match round {
            1 => {
                stop(&network, hosts.remove(0)).await;
            }
            3 => hosts.insert(0, start(&network, config(&dirs[0])).await),
            _ => {}
        }
    }
    run_until(&hosts, count, &mut seen).await;
    assert_eq!(seen, expected);
    for host in hosts {
        stop(&network, host).await;
    }
}
