//! Applies a group's committed entries to its state: effects, applied index and membership in one batch per entry.
//! Order: the entry is durable in the log, then applied here, then its reply is given.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::storage::{EntryResponder, RaftStateMachine};
use rocksdb::WriteBatch;
use tokio::sync::{Notify, watch};

use super::codec;
use super::snapshot::{Moment, SnapshotBuilder, SnapshotData};
use super::types::{Command, LogId, RaftEntry, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::apply::{Effect, apply_batch};
use crate::catalog::CatalogShared;
use crate::error::OdgmError;
use crate::events::BoundsRecord;
use crate::mail::{Desk, MailCommand, Stirred};
use crate::poison::Poison;
use crate::record::{CatalogChange, CommitBatch};
use crate::store::GroupState;

/// What a group's entries mean.
#[derive(Clone)]
pub(crate) enum Machine {
    /// Objects.
    Partition,
    /// Nodes, grids and classes.
    Catalog(Arc<CatalogShared>),
}

/// See the module.
pub(super) struct StateMachine {
    group: Arc<GroupState>,
    machine: Machine,
    poison: Poison,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// The term of the last applied entry; a leader serves from the moment it is its own.
    applied_term: watch::Sender<u64>,
    /// Told of dead homes.
    collect: Arc<Notify>,
    /// Where the event log stands, with what is applied.
    events: BoundsRecord,
    built: Arc<AtomicBool>,
    /// Whom the entry at hand gave something to do with messages; told once it is stored.
    stirred: Stirred,
}

impl StateMachine {
    pub(super) fn open(
        group: &Arc<GroupState>,
        machine: Machine,
        poison: &Poison,
        collect: &Arc<Notify>,
    ) -> Result<Self, OdgmError> {
        let (applied, membership) = codec::applied(&group.state()?);
        let applied_term = watch::Sender::new(0);
        let state_machine = Self {
            group: group.clone(),
            machine,
            poison: poison.clone(),
            applied,
            membership,
            applied_term,
            collect: collect.clone(),
            events: group.event_bounds()?,
            // what is on the disk is durable: a log may have been purged up to there before the restart
            built: Arc::new(AtomicBool::new(applied.is_some())),
            stirred: Stirred::default(),
        };
        state_machine.reload()?;
        Ok(state_machine)
    }

    /// Follows the term of the last applied entry.
    pub(super) fn applied_term(&self) -> watch::Receiver<u64> {
        self.applied_term.subscribe()
    }

    /// Brings what is kept in memory up to what is stored.
    fn reload(&self) -> Result<(), OdgmError> {
        if let Machine::Catalog(catalog) = &self.machine {
            catalog.load(self.group.catalog_records()?)?;
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: &RaftEntry) -> Result<Reply, OdgmError> {
        let mut batch = WriteBatch::default();
        let reply = match &entry.payload {
            EntryPayload::Blank => Reply::None,
            EntryPayload::Membership(members) => {
                self.membership = StoredMembership::new(Some(entry.log_id), members.clone());
                Reply::None
            }
            EntryPayload::Normal(Command::Commits(commits)) => {
                self.commits(&mut batch, commits, &entry.log_id)?
            }
            EntryPayload::Normal(Command::Mail(step)) => self.mail(&mut batch, step, &entry.log_id)?,
            EntryPayload::Normal(Command::Catalog(change)) => {
                return self.catalog(batch, change, entry.log_id);
            }
        };
        self.finish(batch, entry.log_id)?;
        Ok(reply)
    }

    /// Writes the batch together with how far it brings the group.
    fn finish(&mut self, batch: WriteBatch, at: LogId) -> Result<(), OdgmError> {
        self.group.write(batch, &codec::state_record(Some(&at), &self.membership))?;
        self.group.db().counts.entries.one();
        self.applied = Some(at);
        self.group.show_events(self.events.last);
        let term = at.leader_id.term;
        self.applied_term.send_if_modified(|known| std::mem::replace(known, term) != term);
        self.group.bell().ring(std::mem::take(&mut self.stirred));
        Ok(())
    }

    fn commits(
        &mut self,
        batch: &mut WriteBatch,
        commits: &CommitBatch,
        at: &LogId,
    ) -> Result<Reply, OdgmError> {
        let group = self.group.clone();
        let mut desk = Desk::new(&*group, group.space().group, at.index, commits.now_ms);
        let (effects, replies) = apply_batch(&*group, &mut desk, commits, at.leader_id.term, at.index)?;
        group.db().counts.replies(&replies);
        group.put(batch, &effects);
        group.append_events(batch, &mut self.events, &effects)?;
        self.stirred = group.put_mail(batch, desk);
        if effects.iter().any(|effect| matches!(effect, Effect::DeadHome { .. })) {
            self.collect.notify_one();
        }
        Ok(Reply::Commits(replies))
    }

    fn mail(&mut self, batch: &mut WriteBatch, step: &MailCommand, at: &LogId) -> Result<Reply, OdgmError> {
        let group = self.group.clone();
        let mut desk = Desk::new(&*group, group.space().group, at.index, step.now_ms);
        let reply = desk.step(step, at.leader_id.term)?;
        self.stirred = group.put_mail(batch, desk);
        Ok(Reply::Mail(reply))
    }

    fn catalog(
        &mut self,
        mut batch: WriteBatch,
        change: &CatalogChange,
        at: LogId,
    ) -> Result<Reply, OdgmError> {
        let Machine::Catalog(catalog) = self.machine.clone() else {
            return Err(OdgmError::corrupt(format!("entry {at}"), "a catalog change in a partition's log"));
        };
        let (effects, reply) = match catalog.decide(change, at.index)? {
            Ok((effects, reply)) => (effects, Ok(reply)),
            Err(problem) => (Vec::new(), Err(problem)),
        };
        self.group.put_catalog(&mut batch, &effects);
        self.finish(batch, at)?;
        // published only once it is stored: a reader of the view may act on it at once
        catalog.absorb(effects);
        Ok(Reply::Catalog(reply))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            // an entry that this build cannot apply must not be skipped: the replica would differ from then on
            let reply = self.apply_entry(&entry).map_err(|error| self.poison.latch(&error))?;
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(&self.group, &self.built)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let state = codec::state_record(meta.last_log_id.as_ref(), &meta.last_membership);
        let group = self.group.clone();
        let install = move || -> Result<(), OdgmError> {
            let to = match snapshot {
                SnapshotData::Received(to) => to,
                SnapshotData::Here(moment) => {
                    let to = group.next_space()?;
                    moment.copy_to(group.db(), to)?;
                    to
                }
            };
            group.flip(to, &state)
        };
        tokio::task::spawn_blocking(install).await.map_err(io::Error::other)??;
        self.group.db().counts.installed.one();
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.events = self.group.event_bounds()?;
        self.group.show_events(self.events.last);
        self.built.store(true, Ordering::Release);
        self.reload()?;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if !self.built.load(Ordering::Acquire) {
            return Ok(None);
        }
        // always of this moment: it costs the same as an old one and spares the follower the entries in between
        let moment = Moment::take(&self.group);
        Ok(Some(Snapshot { meta: moment.meta()?, snapshot: SnapshotData::Here(moment) }))
    }
}
