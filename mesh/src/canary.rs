//! Which code of a class serves whom while it has a canary. A pure function of the class's name, the object and the share,
//! so that hosts and gateways decide alike without a word, and an object meets one code at any revision.

use xxhash_rust::xxh3::Xxh3;

use crate::catalog::Class;
use crate::id::ObjectId;

/// The largest share of a canary, in percent; a larger one is a deployment.
pub const SHARE_MAX: u32 = 99;
/// Makes a hash that has nothing to do with the one of slots: a share of the objects is that share of every partition.
const SEED: u64 = 0x6361_6e61_7279; // "canary"

/// Whom a call is for, as far as that decides which code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served<'a> {
    /// An object.
    Object(&'a ObjectId),
    /// A call of a function, by its invocation id: tried again it meets the same code.
    Call(&'a str),
}

impl<'a> Served<'a> {
    /// Of a call of an object's method, or of a function.
    pub fn of(object: Option<&'a ObjectId>, invocation: &'a str) -> Self {
        object.map_or(Self::Call(invocation), Self::Object)
    }
}

impl Class {
    /// The code that serves: the class itself, or its canary.
    pub fn serving(&self, served: Served<'_>) -> &Self {
        match &self.canary {
            Some(canary) if point(&self.name, served) < canary.share => &canary.class,
            _ => self,
        }
    }

    /// The class itself and, if it has one, its canary.
    pub fn variants(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.canary.iter().map(|canary| &canary.class))
    }
}

/// Where in a hundred somebody stands: a canary serves those below its share, so that a larger one only adds to them. The
/// hash is scaled, not cut, so that a finer unit would leave everybody where they are.
fn point(class: &str, served: Served<'_>) -> u32 {
    let mut hash = Xxh3::with_seed(SEED);
    hash.update(class.as_bytes());
    match served {
        Served::Object(object) => {
            hash.update(&[0]);
            hash.update(object.as_str().as_bytes());
        }
        // no object's id begins with a zero
        Served::Call(invocation) => {
            hash.update(&[0, 0]);
            hash.update(invocation.as_bytes());
        }
    }
    ((u128::from(hash.digest()) * 100) >> 64) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::Canary;
    use crate::id::{ClassName, slot};
    use crate::limits::SLOTS;

    fn class(share: u32) -> Class {
        let variant = Class { name: "Counter".into(), version: 2, ..Class::default() };
        let canary = (share > 0).then(|| Box::new(Canary { share, class: variant.clone() }));
        Class { version: 1, canary, ..variant }
    }

    fn ids(count: usize) -> Vec<ObjectId> {
        (0..count).map(|n| ObjectId::parse(&format!("user-{n}")).unwrap()).collect()
    }

    fn is_canary(class: &Class, id: &ObjectId) -> bool {
        class.serving(Served::Object(id)).version == 2
    }

    #[test]
    fn a_share_is_that_share_of_the_objects_and_of_the_calls() {
        const MANY: usize = 20_000;
        let ids = ids(MANY);
        for share in [0, 1, 10, 50, 90, SHARE_MAX] {
            let class = class(share);
            let objects = ids.iter().filter(|id| is_canary(&class, id)).count();
            let calls = ids.iter().filter(|id| class.serving(Served::Call(id.as_str())).version == 2).count();
            for served in [objects, calls] {
                let expected = MANY * share as usize / 100;
                // five standard deviations of the widest of these distributions
                assert!(served.abs_diff(expected) <= 360, "{served} of {MANY} at {share}%");
            }
        }
    }

    #[test]
    fn a_larger_share_only_adds() {
        for id in ids(2_000) {
            let mut before = false;
            for share in 0..=SHARE_MAX {
                let now = is_canary(&class(share), &id);
                assert!(now || !before, "{id} at {share}%");
                before = now;
            }
        }
    }

    /// Were it the hash of the slots, whole partitions would be the canary's, and others none of it.
    #[test]
    fn every_partition_has_its_share() {
        const PARTITIONS: usize = 16;
        let (class, name) = (class(10), ClassName::parse("Counter").unwrap());
        let mut count = [(0, 0); PARTITIONS];
        for id in ids(40_000) {
            let at = usize::from(slot(&name, &id)) * PARTITIONS / usize::from(SLOTS);
            count[at].0 += 1;
            count[at].1 += usize::from(is_canary(&class, &id));
        }
        for (objects, served) in count {
            let percent = served * 100 / objects;
            assert!((7..=13).contains(&percent), "{served} of {objects}");
        }
    }

    /// While a cluster is upgraded its hosts must decide alike.
    #[test]
    fn points_never_change() {
        let point = |class, id: &str| point(class, Served::Object(&ObjectId::parse(id).unwrap()));
        let seen = ["alice", "bob", "carol"].map(|id| point("Counter", id));
        assert_eq!(seen, POINTS);
        assert_ne!(seen, ["alice", "bob", "carol"].map(|id| point("Other", id)));
    }

    const POINTS: [u32; 3] = [29, 85, 74];

    #[test]
    fn an_object_is_no_call_of_its_name() {
        let class = class(50);
        let differs =
            |id: &ObjectId| is_canary(&class, id) != (class.serving(Served::Call(id.as_str())).version == 2);
        assert!(ids(100).iter().any(differs));
        assert_eq!(Served::of(None, "i"), Served::Call("i"));
    }

    #[test]
    fn a_class_from_before_canaries_has_none() {
        use prost::Message as _;
        let old = Class { name: "Counter".into(), version: 3, ..Class::default() };
        assert_eq!(Class::decode(old.encode_to_vec().as_slice()).unwrap().canary, None);
        let new = class(10);
        assert_eq!(Class::decode(new.encode_to_vec().as_slice()).unwrap(), new);
        assert_eq!(new.variants().map(|class| class.version).collect::<Vec<_>>(), [1, 2]);
    }
}
