//! What can be done to a cluster, alone and in random order.

use std::time::Duration;

use oprc_tests::{Cluster, Party};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::PAST_THE_LEASE;

/// One thing that goes wrong. Those that it strikes are hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and back after so long.
    Kill(Vec<usize>, Duration),
    /// SIGSTOP, and on after so long.
    Pause(Vec<usize>, Duration),
    /// One host and everybody else hear nothing of each other.
    Alone(usize),
    /// One host and the other hosts hear nothing of each other; gateways reach all of them.
    AloneAmongHosts(usize),
    /// A host and some gateways on one side, all others on the other.
    Split(usize, Vec<usize>),
    /// What a host sends to the others vanishes; what they send arrives.
    Mute(usize),
    /// What is sent to a host by the others vanishes; what it sends arrives.
    Deaf(usize),
    /// Two hosts hear nothing of each other, and everybody else of both.
    Apart(usize, usize),
    /// What the first sends to the second vanishes.
    OneWay(usize, usize),
}

impl Fault {
    /// Every fault that can strike `host` in a cluster of so many hosts and gateways.
    pub(crate) fn cuts_of(host: usize, hosts: usize, gateways: usize) -> Vec<Self> {
        let other = (host + 1) % hosts;
        vec![
            Self::Alone(host),
            Self::AloneAmongHosts(host),
            Self::Split(host, vec![gateways - 1]),
            Self::Mute(host),
            Self::Deaf(host),
            Self::Apart(host, other),
            Self::OneWay(host, other),
            Self::OneWay(other, host),
        ]
    }

    /// A random one, on a cluster whose links can be cut and which leaves a quorum of its hosts most of the time.
    pub(crate) fn any(rng: &mut StdRng, hosts: usize, gateways: usize) -> Self {
        let all: Vec<usize> = (0..hosts).collect();
        let host = rng.random_range(0..hosts);
        // one in ten strikes everybody
        let several = |rng: &mut StdRng| if rng.random_bool(0.1) { all.clone() } else { vec![host] };
        match rng.random_range(0..4) {
            0 => Self::Kill(several(rng), Duration::from_millis(rng.random_range(0..4_000))),
            1 => {
                let lengths = [300..900, 900..2_500, 2_500..5_000];
                let length = lengths.choose(rng).expect("there are some").clone();
                Self::Pause(several(rng), Duration::from_millis(rng.random_range(length)))
            }
            _ => Self::cuts_of(host, hosts, gateways).choose(rng).expect("there are some").clone(),
        }
    }

    /// Does it, keeps it up for a while (for `hold`, where it has no time of its own), and takes it back.
    pub(crate) async fn strike(&self, cluster: &Cluster, hold: Duration) {
        self.strike_with(None, cluster, hold).await;
    }

    /// The same with a second fault a moment later; both are taken back together.
    pub(crate) async fn strike_with(&self, second: Option<&Self>, cluster: &Cluster, hold: Duration) {
        let faults: Vec<&Self> = std::iter::once(self).chain(second).collect();
        let length = faults.iter().map(|fault| fault.length(hold)).max().unwrap_or(hold);
        for fault in &faults {
            fault.begin(cluster);
            tokio::time::sleep(length / faults.len() as u32).await;
        }
        cluster.heal();
        for fault in &faults {
            fault.end(cluster).await;
        }
    }

    fn length(&self, hold: Duration) -> Duration {
        match self {
            Self::Kill(_, length) | Self::Pause(_, length) => *length,
            _ => hold,
        }
    }

    fn begin(&self, cluster: &Cluster) {
        match self {
            Self::Kill(hosts, _) => hosts.iter().for_each(|&host| cluster.kill(Party::Host(host))),
            Self::Pause(hosts, _) => {
                // one that was killed by an earlier fault cannot be stopped
                let running = cluster.running();
                let there = hosts.iter().filter(|host| running.contains(host));
                there.for_each(|&host| cluster.signal(Party::Host(host), "STOP"));
            }
            _ => self.cut(cluster),
        }
    }

    async fn end(&self, cluster: &Cluster) {
        match self {
            Self::Kill(hosts, _) => {
                for &host in hosts {
                    cluster.start_host(host).await;
                }
            }
            Self::Pause(hosts, _) => {
                let running = cluster.running();
                let there = hosts.iter().filter(|host| running.contains(host));
                there.for_each(|&host| cluster.signal(Party::Host(host), "CONT"));
            }
            _ => {}
        }
    }

    fn cut(&self, cluster: &Cluster) {
        let hosts: Vec<Party> = cluster.hosts().into_iter().map(Party::Host).collect();
        let all = cluster.parties();
        match *self {
            Self::Kill(..) | Self::Pause(..) => {}
            Self::Alone(host) => cluster.part(&[Party::Host(host)], &all),
            Self::AloneAmongHosts(host) => cluster.part(&[Party::Host(host)], &hosts),
            Self::Split(host, ref gateways) => {
                let mut side: Vec<Party> = gateways.iter().copied().map(Party::Gateway).collect();
                side.push(Party::Host(host));
                let rest: Vec<Party> = all.into_iter().filter(|party| !side.contains(party)).collect();
                cluster.part(&side, &rest);
            }
            Self::Mute(host) => others(&hosts, host).for_each(|to| cluster.cut(Party::Host(host), to)),
            Self::Deaf(host) => others(&hosts, host).for_each(|from| cluster.cut(from, Party::Host(host))),
            Self::Apart(one, other) => cluster.part(&[Party::Host(one)], &[Party::Host(other)]),
            Self::OneWay(from, to) => cluster.cut(Party::Host(from), Party::Host(to)),
        }
    }
}

fn others(hosts: &[Party], host: usize) -> impl Iterator<Item = Party> {
    hosts.iter().copied().filter(move |party| *party != Party::Host(host))
}

/// How long a cut lasts in the short tests: until leases have run out, elections were held and links given up.
pub(crate) fn hold(rng: &mut StdRng) -> Duration {
    PAST_THE_LEASE + Duration::from_millis(rng.random_range(0..1_500))
}
