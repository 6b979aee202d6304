//! The catalog as every part of the house sees it: nodes, grids with their slot map, and classes. The catalog group
//! (`odgm`) decides it; hosts and gateways hold a copy and follow its revisions. All types travel the mesh and lie on
//! disk as protobuf, so tags never change.

mod settings;

pub use self::settings::{ClassLimits, ClassSettings, OwnGrid, Trigger, TriggerEvent};
use crate::access::ApiKey;
use crate::id::{ClassName, NodeId, ObjectId, call_slot, slot};

/// One revision of the whole catalog.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CatalogView {
    /// The catalog log's index after which it looked so; grows with every change.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// Hosts, by id.
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<Node>,
    /// Grids, by name.
    #[prost(message, repeated, tag = "3")]
    pub grids: Vec<Grid>,
    /// Deployed classes, by name.
    #[prost(message, repeated, tag = "4")]
    pub classes: Vec<Class>,
    /// How the cluster began; absent until it has.
    #[prost(message, optional, tag = "5")]
    pub founding: Option<Founding>,
    /// Keys of those who may use the cluster, by name.
    #[prost(message, repeated, tag = "6")]
    pub keys: Vec<ApiKey>,
}

/// How a cluster began: the first record of its catalog.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Founding {
    /// Tells it from every other cluster; made at random, never 0.
    #[prost(uint64, tag = "1")]
    pub cluster: u64,
    /// Hosts that must have joined before the grid `default` is laid out.
    #[prost(uint32, tag = "2")]
    pub expect: u32,
    /// Copies of each partition of the grid `default`, as far as there are hosts.
    #[prost(uint32, tag = "3")]
    pub replicas: u32,
}

/// A host.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Its [`NodeId`].
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its failure zone; empty when none was given.
    #[prost(string, tag = "2")]
    pub zone: String,
    /// What the cluster expects of it.
    #[prost(enumeration = "NodeState", tag = "3")]
    pub state: i32,
}

/// What the cluster expects of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum NodeState {
    /// It holds its share. (It may be away for a while.)
    Live = 0,
    /// Its partitions move to others, by an operator's wish.
    Draining = 1,
    /// It has been away for so long that its partitions move to others. When it returns it is live again.
    Down = 2,
    /// It is gone for good: a host with this id is never let in again.
    Removed = 3,
}

/// A named set of partitions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Grid {
    /// `default`, or the name of the class that has it to itself.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Copies of each partition.
    #[prost(uint32, tag = "2")]
    pub replicas: u32,
    /// In slot order; together they cover every slot once.
    #[prost(message, repeated, tag = "3")]
    pub partitions: Vec<PartitionInfo>,
}

/// One Raft group and the contiguous slots that it owns.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartitionInfo {
    /// The Raft group's number, unique in the cluster; 0 is the catalog itself.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The first slot that it owns.
    #[prost(uint32, tag = "2")]
    pub slot_first: u32,
    /// The last slot that it owns.
    #[prost(uint32, tag = "3")]
    pub slot_last: u32,
    /// The hosts that should hold it; the first one should lead.
    #[prost(uint64, repeated, tag = "4")]
    pub nodes: Vec<u64>,
    /// The hosts that may hold it, in id order: while it moves, those of before and those to come.
    #[prost(uint64, repeated, tag = "5")]
    pub held: Vec<u64>,
    /// The one host that may begin its Raft group, while [`Self::founded`] is false.
    #[prost(uint64, tag = "6")]
    pub founder: u64,
    /// Its Raft group has begun, and never begins again.
    #[prost(bool, tag = "7")]
    pub founded: bool,
    /// Counts the changes of [`Self::nodes`]; a word about an earlier placement moves nothing.
    #[prost(uint64, tag = "8")]
    pub placed: u64,
}

/// A deployed class at one revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Class {
    /// Its number, never used again for another class; part of every stored key.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The grid that its objects live in.
    #[prost(string, tag = "3")]
    pub grid: String,
    /// The catalog index of this component and manifest; a later one always has a larger number.
    #[prost(uint64, tag = "4")]
    pub revision: u64,
    /// Counts the deployments of the class from 1.
    #[prost(uint64, tag = "5")]
    pub version: u64,
    /// SHA-256 of the component.
    #[prost(bytes = "bytes", tag = "6")]
    pub digest: bytes::Bytes,
    /// What the manifest settled.
    #[prost(message, required, tag = "7")]
    pub settings: ClassSettings,
    /// The exported methods, in name order; empty with [`Class::generic`].
    #[prost(message, repeated, tag = "8")]
    pub methods: Vec<Method>,
    /// The component exports `oprc:odgm/handler`: any method name goes to it.
    #[prost(bool, tag = "9")]
    pub generic: bool,
    /// When it was deployed, in milliseconds since the Unix epoch, by the clock of the host that deployed it.
    #[prost(uint64, tag = "10")]
    pub deployed_at_ms: u64,
    /// Other code that serves some of its objects, at the same revision; see [`crate::canary`].
    #[prost(message, optional, boxed, tag = "11")]
    pub canary: Option<Box<Canary>>,
    /// The component exports `wasi:http/incoming-handler`: it serves HTTP of its own.
    #[prost(bool, tag = "79")]
    pub serves_http: bool,
}

/// Other code of a class, which serves a share of its objects.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Canary {
    /// How many of a hundred objects it serves: 1 to [`crate::canary::SHARE_MAX`].
    #[prost(uint32, tag = "1")]
    pub share: u32,
    /// The class as those see it: number, name, grid and revision are the class's, the version is one of its own.
    #[prost(message, required, tag = "2")]
    pub class: Class,
}

/// One exported method or function.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Method {
    /// Its name, as exported.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its parameters in order.
    #[prost(message, repeated, tag = "2")]
    pub params: Vec<Param>,
    /// The WIT type of its result, such as `result<u64, string>`; empty for none.
    #[prost(string, tag = "3")]
    pub result: String,
    /// Listed as read-only in the manifest.
    #[prost(bool, tag = "4")]
    pub readonly: bool,
}

/// One parameter.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Param {
    /// Its name in WIT.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its WIT type, written out.
    #[prost(string, tag = "2")]
    pub ty: String,
}

impl Method {
    /// The signature as WIT writes it: `increment: func(by: u64) -> u64`.
    pub fn signature(&self) -> String {
        let params: Vec<_> =
            self.params.iter().map(|param| format!("{}: {}", param.name, param.ty)).collect();
        let result = if self.result.is_empty() { String::new() } else { format!(" -> {}", self.result) };
        format!("{}: func({}){result}", self.name, params.join(", "))
    }
}

impl CatalogView {
    /// The deployed class of that name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.binary_search_by(|class| class.name.as_str().cmp(name)).ok().map(|at| &self.classes[at])
    }

    /// The grid of that name.
    pub fn grid(&self, name: &str) -> Option<&Grid> {
        self.grids.binary_search_by(|grid| grid.name.as_str().cmp(name)).ok().map(|at| &self.grids[at])
    }

    /// The host of that id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.binary_search_by_key(&id.0, |node| node.id).ok().map(|at| &self.nodes[at])
    }

    /// All partitions of all grids.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionInfo> {
        self.grids.iter().flat_map(|grid| &grid.partitions)
    }

    /// The partition of a Raft group.
    pub fn partition(&self, group: u64) -> Option<&PartitionInfo> {
        self.partitions().find(|partition| partition.group == group)
    }

    /// The partition that owns `object` of `class`.
    pub fn locate(&self, class: &Class, name: &ClassName, object: &ObjectId) -> Option<&PartitionInfo> {
        self.grid(&class.grid)?.owner(slot(name, object))
    }

    /// The partition that keeps the asynchronous call of that id: its object's; for a function, one that the id chooses.
    pub fn locate_call(
        &self,
        class: &Class,
        name: &ClassName,
        object: Option<&ObjectId>,
        invocation: &str,
    ) -> Option<&PartitionInfo> {
        let slot = object.map_or_else(|| call_slot(name, invocation), |object| slot(name, object));
        self.grid(&class.grid)?.owner(slot)
    }
}

impl Grid {
    /// The partition that owns `slot`.
    pub fn owner(&self, slot: u16) -> Option<&PartitionInfo> {
        let slot = u32::from(slot);
        let at = self.partitions.partition_point(|partition| partition.slot_last < slot);
        self.partitions.get(at).filter(|partition| partition.slot_first <= slot)
    }
}

impl PartitionInfo {
    /// Whether `node` may hold it.
    pub fn is_held_by(&self, node: NodeId) -> bool {
        self.held.binary_search(&node.0).is_ok()
    }

    /// Whether it is where it should be: nobody holds it who should not.
    pub fn is_settled(&self) -> bool {
        self.founded && self.held.len() == self.nodes.len() && self.hosts().all(|node| self.is_held_by(node))
    }

    /// The hosts that should hold it.
    pub fn hosts(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().copied().map(NodeId)
    }

    /// The hosts that should hold it, and after them those that still may: until it has settled one of those may lead.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> + Clone + '_ {
        let leaving = self.held.iter().filter(|id| !self.nodes.contains(id));
        self.nodes.iter().chain(leaving).copied().map(NodeId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SLOTS;

    fn grid_of(partitions: u32) -> Grid {
        let bound = |n: u32| n * u32::from(SLOTS) / partitions;
        let partitions = (0..partitions)
            .map(|n| PartitionInfo {
                group: u64::from(n) + 1,
                slot_first: bound(n),
                slot_last: bound(n + 1) - 1,
                nodes: vec![1],
                ..PartitionInfo::default()
            })
            .collect();
        Grid { name: "default".into(), replicas: 1, partitions }
    }

    #[test]
    fn every_slot_has_exactly_one_owner() {
        for partitions in [1, 3, 16, 256] {
            let grid = grid_of(partitions);
            for slot in 0..SLOTS {
                let owner = grid.owner(slot).unwrap();
                assert!((owner.slot_first..=owner.slot_last).contains(&u32::from(slot)));
            }
        }
    }

    #[test]
    fn a_gap_has_no_owner() {
        let mut grid = grid_of(4);
        grid.partitions.remove(1);
        assert!(grid.owner(1024).is_none());
        assert!(grid.owner(1023).is_some() && grid.owner(2048).is_some());
    }

    #[test]
    fn a_partition_is_settled_when_those_hold_it_who_should() {
        let at = |nodes: &[u64], held: &[u64], founded| {
            let info =
                PartitionInfo { nodes: nodes.to_vec(), held: held.to_vec(), founded, ..Default::default() };
            info.is_settled()
        };
        assert!(at(&[3, 1, 2], &[1, 2, 3], true));
        assert!(!at(&[3, 1, 2], &[1, 2, 3], false));
        assert!(!at(&[3, 1, 2], &[1, 2, 3, 4], true));
        assert!(!at(&[3, 1, 4], &[1, 2, 3], true));
    }

    #[test]
    fn a_signature_reads_like_wit() {
        let by = Param { name: "by".into(), ty: "u64".into() };
        let mut method =
            Method { name: "increment".into(), params: vec![by], result: "u64".into(), readonly: false };
        assert_eq!(method.signature(), "increment: func(by: u64) -> u64");
        method.result.clear();
        method.params.clear();
        assert_eq!(method.signature(), "increment: func()");
    }
}
