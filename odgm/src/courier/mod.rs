//! What brings messages from partition to partition. Each partition's leader empties its outboxes into the partitions that
//! they are for, as often as it takes, and sends off timers that are due; that nothing comes twice or in another order is
//! decided in the log of the receiving partition, see [`crate::mail`].

mod carry;
mod leading;
mod timers;

use std::sync::Arc;

use oprc_mesh::catalog::CatalogView;
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire::{Deliver, Delivered};
use prost::Message as _;

pub(crate) use self::leading::while_leading;

use crate::ask::Asker;
use crate::catalog::CatalogShared;
use crate::mail::Message;
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::problem::not_leader;

/// What all couriers of a host share.
pub(crate) struct Office {
    pub(crate) asker: Asker,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) catalog: Arc<CatalogShared>,
}

impl Office {
    /// Looks after the messages of a partition that this host leads, until it is dropped.
    pub(crate) async fn serve(self: Arc<Self>, partition: Arc<Partition>) {
        tokio::join!(carry::run(&self, &partition), timers::run(&partition));
    }

    fn view(&self) -> Arc<CatalogView> {
        self.catalog.view()
    }
}

/// Takes what another host's courier brings.
///
/// # Errors
/// `not-leader`, and what a step may fail with.
pub(crate) async fn receive(partitions: &Partitions, deliver: Deliver) -> Result<Delivered, Problem> {
    let partition = partitions.get(deliver.to_group).ok_or_else(|| not_leader(None))?;
    let messages = deliver.messages.into_iter().map(Message::decode).collect::<Result<Vec<_>, _>>();
    let messages = messages.map_err(|error| {
        Problem::new(oprc_mesh::outcome::Code::Invalid, format!("a message that cannot be read: {error}"))
    })?;
    crate::crash::crash_point("before-take");
    let mark = partition.take(deliver.from_group, deliver.first, messages).await?;
    crate::crash::crash_point("after-take");
    Ok(Delivered { mark })
}
