//! A backlog of messages stays on the disk: whoever works on it reads bounded pages.

#![allow(clippy::unwrap_used)]

use crate::mail::{MailCommand, MailStep, Message, Outgoing, ReadyKey, Settle, Tick, Trim, Verdict};
use crate::store::GroupState;
use crate::testing::{Bed, mail_entry as entry};

const GROUP: u64 = 5;
const SENDERS: usize = 100;

fn outgoing(n: usize, to_group: u64, due_ms: u64) -> Outgoing {
    let message = Message {
        from_class: "S".into(),
        from_object: format!("s{}", n % SENDERS),
        class: "R".into(),
        // of pairs of their own: what is sent at once waits for the timers of its pair
        object: if due_ms == 0 { "r" } else { "later" }.into(),
        method: "m".into(),
        payload: format!("{n:0100}").into(),
        ..Message::default()
    };
    Outgoing { message, to_group, due_ms, key: None }
}

fn number(message: &Message) -> usize {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

/// This many messages to another partition, to this one, and for later; all of them worked off in pages.
fn backlog(messages: usize) {
    let bed = Bed::new();
    let group = bed.group(GROUP);
    let mut index = 0;
    for first in (0..messages).step_by(1_000) {
        index += 1;
        entry(&group, index, 1, |desk| {
            for n in first..first + 1_000 {
                desk.send(1, &outgoing(n, 6, 0)).unwrap();
                desk.send(1, &outgoing(n, GROUP, 1_000 + n as u64)).unwrap();
            }
        });
    }
    outbox(&group, messages, &mut index);
    timers(&group, messages, &mut index);
    ready(&group, messages, &mut index);
}

fn outbox(group: &GroupState, messages: usize, index: &mut u64) {
    assert_eq!(group.filled_outboxes().unwrap(), [6]);
    let mut taken = 0;
    loop {
        let batch = group.outgoing(6, taken as u64 + 1, 512, 64 * 1024).unwrap();
        if batch.is_empty() {
            break;
        }
        let bytes: usize = batch.iter().map(Vec::len).sum();
        assert!(
            batch.len() <= 512 && bytes <= 64 * 1024 + 16 * 300,
            "{} messages, {bytes} bytes",
            batch.len()
        );
        for message in batch {
            let message = <Message as prost::Message>::decode(&*message).unwrap();
            assert_eq!(number(&message), taken);
            taken += 1;
        }
        *index += 1;
        let step = Some(MailStep::Trim(Trim { to_group: 6, upto: taken as u64 }));
        let trim = MailCommand { term: 1, now_ms: 1, step };
        entry(group, *index, 1, |desk| {
            desk.step(&trim, 1).unwrap();
        });
    }
    assert_eq!((taken, group.filled_outboxes().unwrap().len()), (messages, 0));
}

fn timers(group: &GroupState, messages: usize, index: &mut u64) {
    let (mut moved, mut from_ms) = (0, 0);
    while let Some(due) = group.first_timer(from_ms).unwrap() {
        *index += 1;
        let now_ms = 1_000 + messages as u64; // all of them are due
        let tick = MailCommand { term: 1, now_ms, step: Some(MailStep::Tick(Tick { from_ms, limit: 256 })) };
        entry(group, *index, now_ms, |desk| match desk.step(&tick, 1).unwrap() {
            crate::mail::MailReply::Done(count) if (1..=256).contains(&count) => moved += count as usize,
            other => panic!("{other:?}"),
        });
        from_ms = due;
    }
    assert_eq!(moved, messages);
}

fn ready(group: &GroupState, messages: usize, index: &mut u64) {
    let mut last = vec![None; SENDERS];
    let (mut run, mut from) = (0, ReadyKey::default());
    loop {
        let keys = group.ready_keys(from, 65).unwrap();
        assert!(keys.len() <= 65);
        let Some(first) = keys.first() else { break };
        from = *first;
        *index += 1;
        entry(group, *index, 0, |desk| {
            for key in keys {
                let message = group.inbound(key).unwrap().unwrap().message;
                let n = number(&message);
                assert!(last[n % SENDERS].is_none_or(|before| before < n), "a pair keeps its order");
                last[n % SENDERS] = Some(n);
                let settle = Settle { ready: key, verdict: Verdict::Consumed as i32, ..Settle::default() };
                desk.settle(&settle).unwrap();
                run += 1;
            }
        });
    }
    assert_eq!(run, messages);
}

#[test]
fn a_backlog_of_a_hundred_thousand_is_worked_off_in_pages() {
    backlog(100_000);
}

/// Resident memory grows by what the caches may hold, not by the backlog.
#[test]
#[ignore = "takes minutes; part of the soak"]
fn a_backlog_of_a_million_does_not_grow_memory() {
    let resident = || -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096 / 1024 / 1024
    };
    let before = resident();
    backlog(1_000_000);
    let after = resident();
    println!("resident before {before} MiB, after {after} MiB");
    assert!(after < before + 256, "{before} MiB before, {after} MiB after");
}
