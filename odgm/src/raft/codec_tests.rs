//! What is encoded reads back; what this build does not know is refused, never skipped.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::EntryPayload;
use oprc_mesh::catalog::Node;
use oprc_mesh::wire::Tag;

use super::codec::{decode_entry, encode_entry, entry_log_id, log_id, vote, vote_record};
use super::types::{Command, Membership, RaftEntry};
use crate::record::{CatalogChange, CatalogCommand, CommitBatch, LogIdRecord, VoteRecord};
use crate::testing::commit;
use crate::types::Change;

fn entries() -> Vec<RaftEntry> {
    let voters = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4])];
    let commits = vec![commit(
        "a",
        Tag { incarnation: 5, version: 6 },
        Change::Replace,
        &[("x", Some("1")), ("y", None)],
    )];
    let node = CatalogCommand::SetNode(Node { id: 9, zone: "north".into(), state: 0 });
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Membership(Membership::new_with_defaults(voters, [5])),
        EntryPayload::Normal(Command::Commits(Arc::new(CommitBatch { commits, now_ms: 7 }))),
        EntryPayload::Normal(Command::Catalog(Arc::new(CatalogChange { command: Some(node) }))),
    ];
    let at = |index| log_id(LogIdRecord { term: 7, index });
    (3..).zip(payloads).map(|(index, payload)| RaftEntry { log_id: at(index), payload }).collect()
}

#[test]
fn entries_round_trip() {
    for entry in entries() {
        let bytes = encode_entry(&entry);
        assert_eq!(entry_log_id(entry.log_id.index, &bytes).unwrap(), entry.log_id);
        assert_eq!(decode_entry(entry.log_id.index, &bytes.into()).unwrap(), entry);
    }
}

#[test]
fn votes_round_trip() {
    let record = VoteRecord { format: 1, term: 4, node: 9, committed: true };
    assert_eq!(vote_record(&vote(record)), record);
}

#[test]
fn a_newer_format_an_unknown_kind_and_damage_are_refused() {
    for entry in entries() {
        let bytes = encode_entry(&entry);
        let with = |at: usize, byte: u8| {
            let mut changed = bytes.clone();
            changed[at] = byte;
            decode_entry(3, &changed.into()).unwrap_err().to_string()
        };
        assert!(with(0, 2).contains("format version 2"), "{}", with(0, 2));
        assert!(with(1, 200).contains("kind 200"), "{}", with(1, 200));
        assert!(decode_entry(3, &bytes[..9].to_vec().into()).is_err());
    }
    let commits = encode_entry(&entries()[2]);
    assert!(decode_entry(3, &commits[..commits.len() - 1].to_vec().into()).is_err());
}

#[test]
fn a_catalog_command_of_a_newer_version_is_refused() {
    let mut bytes = encode_entry(&entries()[3]);
    // the field number of the command, in the upper bits of its tag
    bytes[10] = (15 << 3) | 2;
    assert!(decode_entry(3, &bytes.into()).unwrap_err().to_string().contains("unknown"));
}
