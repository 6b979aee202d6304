//! Raft's own values to and from stored records. An entry is `format u8, kind u8, term u64, body`; its index is in
//! the key.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId as _;
use prost::Message;

use super::types::{Command, LogId, Membership, RaftEntry, RaftVote, StoredMembership};
use crate::error::OdgmError;
use crate::mail::MailCommand;
use crate::record::{
    CatalogChange, CommitBatch, FORMAT, LogIdRecord, MembershipRecord, StateRecord, VoteRecord, VoterSet,
};

const ENTRY_FORMAT: u8 = FORMAT as u8;
const HEADER_BYTES: usize = 10;

const KIND_BLANK: u8 = 0;
const KIND_MEMBERSHIP: u8 = 1;
const KIND_COMMITS: u8 = 2;
const KIND_CATALOG: u8 = 3;
const KIND_MAIL: u8 = 4;

pub(super) fn log_id(record: LogIdRecord) -> LogId {
    let leader = leader_id_std::LeaderId::new(record.term, 0).to_committed();
    LogId::new(leader, record.index)
}

pub(super) fn log_id_record(id: &LogId) -> LogIdRecord {
    LogIdRecord { term: id.leader_id.term, index: id.index }
}

pub(super) fn vote(record: VoteRecord) -> RaftVote {
    RaftVote {
        leader_id: leader_id_std::LeaderId::new(record.term, record.node),
        committed: record.committed,
    }
}

pub(super) fn vote_record(vote: &RaftVote) -> VoteRecord {
    VoteRecord {
        format: FORMAT,
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(super) fn membership(record: &MembershipRecord) -> Membership {
    let voters = record.voters.iter().map(|set| set.nodes.iter().copied().collect::<BTreeSet<_>>()).collect();
    Membership::new_with_defaults(voters, record.nodes.iter().copied())
}

pub(super) fn membership_record(membership: &Membership) -> MembershipRecord {
    let sets = membership.get_joint_config().iter();
    MembershipRecord {
        voters: sets.map(|set| VoterSet { nodes: set.iter().copied().collect() }).collect(),
        nodes: membership.nodes().map(|(node, _)| *node).collect(),
    }
}

/// Applied log id and membership, as a state record holds them.
pub(super) fn applied(record: &StateRecord) -> (Option<LogId>, StoredMembership) {
    let members = record.membership.as_ref().map(membership).unwrap_or_default();
    (record.applied.map(log_id), StoredMembership::new(record.membership_at.map(log_id), members))
}

pub(super) fn state_record(applied: Option<&LogId>, membership: &StoredMembership) -> StateRecord {
    StateRecord {
        format: FORMAT,
        applied: applied.map(log_id_record),
        membership_at: membership.log_id().as_ref().map(log_id_record),
        membership: membership.log_id().is_some().then(|| membership_record(membership.membership())),
        installed: false,
    }
}

pub(super) fn encode_entry(entry: &RaftEntry) -> Vec<u8> {
    let body: usize = match &entry.payload {
        EntryPayload::Normal(Command::Commits(batch)) => batch.encoded_len(),
        EntryPayload::Normal(Command::Mail(step)) => step.encoded_len(),
        _ => 64,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body);
    bytes.push(ENTRY_FORMAT);
    let kind = match &entry.payload {
        EntryPayload::Blank => KIND_BLANK,
        EntryPayload::Membership(_) => KIND_MEMBERSHIP,
        EntryPayload::Normal(Command::Commits(_)) => KIND_COMMITS,
        EntryPayload::Normal(Command::Catalog(_)) => KIND_CATALOG,
        EntryPayload::Normal(Command::Mail(_)) => KIND_MAIL,
    };
    bytes.push(kind);
    bytes.extend_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    match &entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Membership(members) => bytes.extend(membership_record(members).encode_to_vec()),
        EntryPayload::Normal(Command::Commits(batch)) => batch.encode_raw(&mut bytes),
        EntryPayload::Normal(Command::Catalog(change)) => change.encode_raw(&mut bytes),
        EntryPayload::Normal(Command::Mail(step)) => step.encode_raw(&mut bytes),
    }
    bytes
}

/// Field values share the entry's buffer.
pub(super) fn decode_entry(index: u64, bytes: &bytes::Bytes) -> Result<RaftEntry, OdgmError> {
    let corrupt = |detail: String| OdgmError::corrupt(format!("log entry {index}"), detail);
    let (&[format, kind, ref term @ ..], _) =
        bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| corrupt("it is cut short".into()))?;
    if format != ENTRY_FORMAT {
        return Err(corrupt(format!("format version {format}, this build knows {ENTRY_FORMAT}")));
    }
    let term = u64::from_be_bytes(*term);
    let body = bytes.slice(HEADER_BYTES..);
    let payload = match kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_MEMBERSHIP => {
            EntryPayload::Membership(membership(&decode(body).map_err(|e| corrupt(e.to_string()))?))
        }
        KIND_COMMITS => {
            let batch: CommitBatch = decode(body).map_err(|e| corrupt(e.to_string()))?;
            EntryPayload::Normal(Command::Commits(Arc::new(batch)))
        }
        KIND_CATALOG => {
            let change: CatalogChange = decode(body).map_err(|e| corrupt(e.to_string()))?;
            if !change.is_known() {
                return Err(corrupt("its catalog command is unknown".into()));
            }
            EntryPayload::Normal(Command::Catalog(Arc::new(change)))
        }
        KIND_MAIL => {
            let step: MailCommand = decode(body).map_err(|e| corrupt(e.to_string()))?;
            if step.step.is_none() {
                return Err(corrupt("its step of messages is unknown".into()));
            }
            EntryPayload::Normal(Command::Mail(Arc::new(step)))
        }
        unknown => return Err(corrupt(format!("kind {unknown} is unknown to this build"))),
    };
    Ok(RaftEntry { log_id: log_id(LogIdRecord { term, index }), payload })
}

fn decode<R: Message + Default>(body: bytes::Bytes) -> Result<R, prost::DecodeError> {
    R::decode(body)
}

/// The term of an encoded entry, without decoding the rest.
pub(super) fn entry_log_id(index: u64, bytes: &[u8]) -> Result<LogId, OdgmError> {
    let cut = || OdgmError::corrupt(format!("log entry {index}"), "it is cut short");
    let (&[_, _, ref term @ ..], _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(cut)?;
    Ok(log_id(LogIdRecord { term: u64::from_be_bytes(*term), index }))
}
