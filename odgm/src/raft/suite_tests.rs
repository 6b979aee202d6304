//! Openraft's own suite for stores.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::log_store::LogStore;
use super::state_machine::{Machine, StateMachine};
use super::types::TypeConfig;
use crate::testing::Bed;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Bed> for Builder {
    async fn build(&self) -> Result<(Bed, LogStore, StateMachine), StorageError<TypeConfig>> {
        let bed = Bed::new();
        let log = LogStore::open(&bed.store.log, &bed.writer, &bed.poison, 1).unwrap();
        let state =
            StateMachine::open(&bed.group(1), Machine::Partition, &bed.poison, &Arc::default()).unwrap();
        Ok((bed, log, state))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_openrafts_suite() {
    Suite::test_all(Builder).await.unwrap();
}
