//! The links between the parties of a cluster: how they reach each other, and how a test takes a link away.
//!
//! Links that can be cut are network namespaces where the machine allows them (root, iproute2). Elsewhere each pair of
//! parties talks through a TCP proxy of its own, with gossip switched off so that nobody finds a way around it: what a
//! cut holds back then arrives late instead of never, which the product must withstand as well. `OPRC_TEST_LINKS` set to
//! `namespaces` or `proxies` chooses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::namespaces::{Namespace, Namespaces};
use crate::proxy::Flow;
use crate::{Proxy, free_port};

/// A process of a cluster, by its number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The router.
    Router,
    /// A host.
    Host(usize),
    /// A gateway.
    Gateway(usize),
}

/// See the module.
pub(crate) struct Links {
    kind: Kind,
    members: Mutex<BTreeMap<Party, Member>>,
}

enum Kind {
    /// Loopback; nothing can be cut.
    Open,
    Namespaces(Namespaces),
    Proxies {
        /// By who connects, and whom to.
        proxies: Mutex<BTreeMap<(Party, Party), Proxy>>,
        /// Switches gossip off.
        config: PathBuf,
    },
}

struct Member {
    mesh: SocketAddr,
    http: SocketAddr,
    namespace: Option<Namespace>,
}

impl Links {
    /// Links that no test will cut.
    pub(crate) fn open() -> Self {
        Self { kind: Kind::Open, members: Mutex::default() }
    }

    /// Links that can be cut; `dir` is for files.
    pub(crate) fn cuttable(dir: &Path) -> Self {
        let wanted = std::env::var("OPRC_TEST_LINKS").unwrap_or_default();
        let kind = match Namespaces::open() {
            Ok(network) if wanted != "proxies" => Kind::Namespaces(network),
            Err(why) if wanted == "namespaces" => panic!("no network namespaces here: {why}"),
            refused => {
                if let Err(why) = refused {
                    println!("no network namespaces here ({why}): links are cut by TCP proxies");
                }
                let config = dir.join("no-gossip.json5");
                std::fs::write(&config, "{ scouting: { gossip: { enabled: false } } }").expect("a file");
                Kind::Proxies { proxies: Mutex::default(), config }
            }
        };
        Self { kind, members: Mutex::default() }
    }

    /// Gives a party its addresses, unless it has them.
    pub(crate) fn add(&self, party: Party) {
        let mut members = lock(&self.members);
        members.entry(party).or_insert_with(|| match &self.kind {
            Kind::Open | Kind::Proxies { .. } => {
                let [mesh, http] = [free_port(), free_port()].map(|port| ([127, 0, 0, 1], port).into());
                Member { mesh, http, namespace: None }
            }
            Kind::Namespaces(network) => {
                let namespace = Some(network.join(number(party)));
                let address = network.address(number(party));
                Member { mesh: (address, 7447).into(), http: (address, 8080).into(), namespace }
            }
        });
    }

    /// The process in whose network namespace the party must run.
    pub(crate) fn namespace(&self, party: Party) -> Option<u32> {
        lock(&self.members)[&party].namespace.as_ref().map(Namespace::pid)
    }

    /// Where the party takes HTTP.
    pub(crate) fn http(&self, party: Party) -> SocketAddr {
        lock(&self.members)[&party].http
    }

    /// Where the party takes mesh connections.
    pub(crate) fn mesh(&self, party: Party) -> String {
        format!("tcp/{}", lock(&self.members)[&party].mesh)
    }

    /// Where `from` connects to reach `to`; none when it is `to` who connects.
    pub(crate) async fn join(&self, from: Party, to: Party) -> Option<String> {
        let Kind::Proxies { proxies, .. } = &self.kind else { return Some(self.mesh(to)) };
        // one connection for each pair, so that a cut of the pair's proxy is a cut of the pair
        if from < to {
            return None;
        }
        let known = lock(proxies).get(&(from, to)).map(|proxy| proxy.port);
        let target = lock(&self.members)[&to].mesh.port();
        let port = if let Some(port) = known {
            port
        } else {
            let proxy = Proxy::to(target).await;
            lock(proxies).entry((from, to)).or_insert(proxy).port
        };
        Some(format!("tcp/127.0.0.1:{port}"))
    }

    /// The Zenoh configuration that every party must have.
    pub(crate) fn config(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Proxies { config, .. } => Some(config),
            Kind::Open | Kind::Namespaces(_) => None,
        }
    }

    /// Lets through, or takes away, what `from` sends to `to`.
    ///
    /// # Panics
    /// When the links cannot be cut.
    pub(crate) fn set(&self, from: Party, to: Party, open: bool) {
        match &self.kind {
            Kind::Open => panic!("plan the cluster as `cuttable`"),
            Kind::Namespaces(network) => {
                let members = lock(&self.members);
                let namespace = members[&from].namespace.as_ref().expect("every party has one");
                network.set(namespace, number(to), open);
            }
            Kind::Proxies { proxies, .. } => {
                let proxies = lock(proxies);
                if let Some(proxy) = proxies.get(&(from, to)) {
                    proxy.hold(Flow::There, !open);
                } else if let Some(proxy) = proxies.get(&(to, from)) {
                    proxy.hold(Flow::Back, !open);
                }
            }
        }
    }
}

/// The last part of the party's address.
fn number(party: Party) -> u8 {
    let number = match party {
        Party::Router => 1,
        Party::Host(number) => 10 + number,
        Party::Gateway(number) => 100 + number,
    };
    u8::try_from(number).expect("a cluster has few parties")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
