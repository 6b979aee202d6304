//! Of which cluster this host is, and, until it is of one, which founder it stands by. Both are on the disk before anybody
//! hears of them: a host that forgot would let two clusters be founded by the same hosts.

use std::sync::Arc;

use oprc_mesh::id::NodeId;
use oprc_mesh::wire::Greeting;
use parking_lot::Mutex;

use crate::error::OdgmError;
use crate::store::Store;

/// See the module.
pub(crate) struct Identity {
    store: Arc<Store>,
    /// Hosts to wait for before founding; 0 when this host never founds.
    expect: u32,
    // held over the file writes: they are few, small, and only before a cluster is there
    known: Mutex<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    cluster: u64,
    enlisted: Option<(u64, u64)>,
}

impl Identity {
    pub(crate) fn open(store: &Arc<Store>, expect: u32) -> Result<Self, OdgmError> {
        let known = Known { cluster: store.dir().cluster()?.unwrap_or(0), enlisted: store.dir().enlisted()? };
        Ok(Self { store: store.clone(), expect, known: Mutex::new(known) })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.store.node()
    }

    /// The cluster; 0 while there is none.
    pub(crate) fn cluster(&self) -> u64 {
        self.known.lock().cluster
    }

    /// Whether this host is the one that founds, or founded, its cluster.
    pub(crate) fn is_founder(&self) -> bool {
        let known = self.known.lock();
        known.cluster != 0 && known.enlisted.is_some_and(|(founder, _)| founder == self.node().0)
    }

    /// What this host says of itself.
    pub(crate) fn greeting(&self) -> Greeting {
        self.greeting_of(*self.known.lock())
    }

    fn greeting_of(&self, known: Known) -> Greeting {
        let (founder, attempt) = known.enlisted.unwrap_or((0, 0));
        let (node, expect) = (self.node().0, self.expect);
        Greeting { node, cluster: known.cluster, expect, founder, attempt }
    }

    /// Stands by `founder` from now on, unless this host stands by another or has a cluster. The greeting shows which.
    pub(crate) fn enlist(&self, founder: u64, attempt: u64) -> Result<Greeting, OdgmError> {
        let mut known = self.known.lock();
        let free = known.enlisted.is_none_or(|(other, _)| other == founder);
        if known.cluster == 0 && free && known.enlisted != Some((founder, attempt)) {
            self.store.dir().keep_enlisted(Some((founder, attempt)))?;
            known.enlisted = Some((founder, attempt));
        }
        Ok(self.greeting_of(*known))
    }

    /// The founder gives that attempt up: this host stands by nobody.
    pub(crate) fn withdraw(&self, founder: u64, attempt: u64) -> Result<Greeting, OdgmError> {
        let mut known = self.known.lock();
        if known.cluster == 0 && known.enlisted == Some((founder, attempt)) {
            self.store.dir().keep_enlisted(None)?;
            known.enlisted = None;
        }
        Ok(self.greeting_of(*known))
    }

    /// This host, which stands by itself, founds the cluster of that number.
    pub(crate) fn found(&self, cluster: u64) -> Result<(), OdgmError> {
        let mut known = self.known.lock();
        self.store.dir().keep_cluster(cluster)?;
        known.cluster = cluster;
        Ok(())
    }

    /// This host is of a cluster that is there, and founds none.
    pub(crate) fn join(&self, cluster: u64) -> Result<(), OdgmError> {
        let mut known = self.known.lock();
        self.store.dir().keep_enlisted(None)?;
        known.enlisted = None;
        self.store.dir().keep_cluster(cluster)?;
        known.cluster = cluster;
        Ok(())
    }
}
