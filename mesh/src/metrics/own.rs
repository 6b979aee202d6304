//! What the mesh itself tells.

use std::fmt;

use super::sheet::{Sheet, Source};
use crate::mesh::Mesh;

impl Source for Mesh {
    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let directory = self.directory();
        let load = self.load();
        sheet.gauge("oprc_mesh_hosts", "Hosts that are seen alive from here.", directory.nodes().len())?;
        sheet.gauge(
            "oprc_mesh_catalog_revision",
            "The revision of the catalog that is known here.",
            directory.view().revision,
        )?;
        sheet.gauge(
            "oprc_mesh_calls_pending",
            "Calls to other processes that wait for an answer.",
            load.calls,
        )?;
        sheet.gauge(
            "oprc_mesh_outbox_messages",
            "Messages to other processes that wait to be sent.",
            load.messages,
        )?;
        sheet.gauge("oprc_mesh_outbox_bytes", "Bytes in those messages.", load.bytes)?;
        sheet.counter(
            "oprc_mesh_outbox_refused",
            "Messages to other processes that were refused, because too much waited already.",
            load.refused,
        )
    }
}
