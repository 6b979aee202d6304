//! Openraft's requests and replies to and from their messages.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::codec;
use super::types::TypeConfig;
use super::wire::{Append, Appended, Ballot, PartlyAppended, Transfer, Transferred, Voted};
use crate::error::OdgmError;

pub(super) fn append(request: &AppendEntriesRequest<TypeConfig>) -> Append {
    Append {
        vote: codec::vote_record(&request.vote),
        prev: request.prev_log_id.as_ref().map(codec::log_id_record),
        committed: request.leader_commit.as_ref().map(codec::log_id_record),
        first: request.entries.first().map_or(0, |entry| entry.log_id.index),
        entries: request.entries.iter().map(|entry| Bytes::from(codec::encode_entry(entry))).collect(),
        seen: None,
        unconfirmed_ms: None,
    }
}

/// # Errors
/// An entry that this build cannot read: it must not be skipped.
pub(super) fn append_request(append: Append) -> Result<AppendEntriesRequest<TypeConfig>, OdgmError> {
    let entries = (append.first..).zip(append.entries);
    Ok(AppendEntriesRequest {
        vote: codec::vote(append.vote),
        prev_log_id: append.prev.map(codec::log_id),
        entries: entries
            .map(|(index, bytes)| codec::decode_entry(index, &bytes))
            .collect::<Result<_, _>>()?,
        leader_commit: append.committed.map(codec::log_id),
    })
}

pub(super) fn appended(response: &AppendEntriesResponse<TypeConfig>) -> Appended {
    match response {
        AppendEntriesResponse::Success => Appended { all: true, ..Appended::default() },
        AppendEntriesResponse::PartialSuccess(upto) => {
            let upto = upto.as_ref().map(codec::log_id_record);
            Appended { partly: Some(PartlyAppended { upto }), ..Appended::default() }
        }
        AppendEntriesResponse::Conflict => Appended { conflict: true, ..Appended::default() },
        AppendEntriesResponse::HigherVote(vote) => {
            Appended { higher: Some(codec::vote_record(vote)), ..Appended::default() }
        }
    }
}

pub(super) fn append_response(appended: &Appended) -> AppendEntriesResponse<TypeConfig> {
    match appended {
        Appended { higher: Some(vote), .. } => AppendEntriesResponse::HigherVote(codec::vote(*vote)),
        Appended { conflict: true, .. } => AppendEntriesResponse::Conflict,
        Appended { all: true, .. } => AppendEntriesResponse::Success,
        Appended { partly, .. } => {
            let upto = partly.as_ref().and_then(|partly| partly.upto);
            AppendEntriesResponse::PartialSuccess(upto.map(codec::log_id))
        }
    }
}

pub(super) fn ballot(request: &VoteRequest<TypeConfig>) -> Ballot {
    Ballot {
        vote: codec::vote_record(&request.vote),
        last: request.last_log_id.as_ref().map(codec::log_id_record),
        transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_request(ballot: &Ballot) -> VoteRequest<TypeConfig> {
    VoteRequest {
        vote: codec::vote(ballot.vote),
        last_log_id: ballot.last.map(codec::log_id),
        leadership_transfer: ballot.transfer,
    }
}

pub(super) fn voted(response: &VoteResponse<TypeConfig>) -> Voted {
    Voted {
        vote: codec::vote_record(&response.vote),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(codec::log_id_record),
    }
}

pub(super) fn vote_response(voted: &Voted) -> VoteResponse<TypeConfig> {
    VoteResponse::new(codec::vote(voted.vote), voted.last.map(codec::log_id), voted.granted)
}

pub(super) fn transfer(request: &TransferLeaderRequest<TypeConfig>) -> Transfer {
    Transfer {
        from: codec::vote_record(request.from_leader()),
        to: *request.to_node_id(),
        last: request.last_log_id().map(codec::log_id_record),
    }
}

pub(super) fn transfer_request(transfer: &Transfer) -> TransferLeaderRequest<TypeConfig> {
    TransferLeaderRequest::new(codec::vote(transfer.from), transfer.to, transfer.last.map(codec::log_id))
}

pub(super) fn transferred(response: &TransferLeaderResponse<TypeConfig>) -> Transferred {
    match response {
        Ok(()) => Transferred { accepted: true, ..Transferred::default() },
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            Transferred { vote: Some(codec::vote_record(actual)), ..Transferred::default() }
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            Transferred { last: actual.as_ref().map(codec::log_id_record), ..Transferred::default() }
        }
    }
}

pub(super) fn transfer_response(
    request: &TransferLeaderRequest<TypeConfig>,
    answer: &Transferred,
) -> TransferLeaderResponse<TypeConfig> {
    if answer.accepted {
        return Ok(());
    }
    Err(match answer.vote {
        Some(actual) => {
            TransferLeaderError::VoteChanged { expected: *request.from_leader(), actual: codec::vote(actual) }
        }
        None => TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: answer.last.map(codec::log_id),
        },
    })
}
