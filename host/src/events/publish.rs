//! Publishes the events of the partitions that this host leads, while somebody listens on the mesh.
//!
//! A leader publishes what is applied, in order, from the moment on at which it leads and is listened to. What was
//! committed just before, under another leader, that one may have published or not: who must not miss anything reads the
//! log.

use std::collections::HashMap;
use std::sync::Arc;

use oprc_mesh::EventPublisher;
use oprc_mesh::events::{Cursor, document};
use oprc_mesh::wire::{Event, Leads};
use oprc_odgm::{EventsOf, Odgm, OdgmError, Partition};
use tokio::task::{AbortHandle, JoinSet};

const ALL: EventsOf<'static> = EventsOf { class: None, prefix: "", exact: false };

/// Runs for ever.
pub(crate) async fn publish(publisher: EventPublisher, odgm: Arc<Odgm>) {
    let publisher = Arc::new(publisher);
    let mut listened = publisher.listened();
    loop {
        if listened.wait_for(|listened| *listened).await.is_err() {
            return;
        }
        tokio::select! {
            gone = listened.wait_for(|listened| !*listened) => if gone.is_err() { return },
            () = publish_led(&publisher, &odgm) => return,
        }
    }
}

/// Publishes for each leadership, until none can change any more.
async fn publish_led(publisher: &Arc<EventPublisher>, odgm: &Arc<Odgm>) {
    let mut leads = odgm.leadership();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Leads, AbortHandle> = HashMap::new();
    loop {
        let now = leads.borrow_and_update().clone();
        running.retain(|lead, task| {
            let stays = now.contains(lead);
            if !stays {
                task.abort();
            }
            stays
        });
        for lead in now {
            let Some(partition) = odgm.partition(lead.group) else { continue };
            running
                .entry(lead)
                .or_insert_with(|| tasks.spawn(publish_all(publisher.clone(), odgm.clone(), partition)));
        }
        while tasks.try_join_next().is_some() {}
        if leads.changed().await.is_err() {
            return;
        }
    }
}

/// Publishes what a partition tells from now on.
async fn publish_all(publisher: Arc<EventPublisher>, odgm: Arc<Odgm>, partition: Arc<Partition>) {
    let mut newest = partition.follow_events();
    let mut after = *newest.borrow_and_update();
    while newest.changed().await.is_ok() {
        newest.borrow_and_update();
        match publish_after(&publisher, &odgm, &partition, after).await {
            Ok(upto) => after = upto,
            Err(error) => {
                return tracing::warn!(group = partition.group(), %error, "events are not published");
            }
        }
    }
}

async fn publish_after(
    publisher: &EventPublisher,
    odgm: &Odgm,
    partition: &Partition,
    mut after: u64,
) -> Result<u64, OdgmError> {
    loop {
        let page = partition.read_events(ALL, after)?;
        let view = odgm.catalog().view();
        for event in &page.items {
            // a class that was removed has no name to publish under
            if let Some(class) = view.classes.iter().find(|class| class.id == event.class) {
                publish_one(publisher, partition.group(), &class.name, event);
            }
        }
        after = page.upto;
        if !page.more {
            return Ok(after);
        }
        tokio::task::yield_now().await;
    }
}

fn publish_one(publisher: &EventPublisher, group: u64, class: &str, event: &Event) {
    let id = Cursor::at(event.class, group, event.seq).id();
    publisher.publish(class, &event.object, document(&id, class, event));
}
