//! Rollbacks, and deployments that would break callers.

#![allow(clippy::unwrap_used)]

use oprc_mesh::catalog::{Class, Method};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Deployed;

use super::CatalogReply;
use super::change_tests::Bed;
use super::classes::VERSIONS_KEPT_MAX;
use crate::record::{CatalogCommand, DeployRecord, RemoveRecord, RollbackRecord};

fn rollback(bed: &mut Bed, to: u64) -> Result<Deployed, Problem> {
    let record = RollbackRecord { class: "A".into(), to, at_ms: 77 };
    deployed(bed.run(&CatalogCommand::Rollback(record))?)
}

#[allow(clippy::unnecessary_wraps, reason = "it ends what may be refused")]
fn deployed(reply: CatalogReply) -> Result<Deployed, Problem> {
    match reply {
        CatalogReply::Deployed(deployed) => Ok(*deployed),
        other @ CatalogReply::Changed(_) => panic!("{other:?}"),
    }
}

/// A deployment of class A with one method for each name.
fn with_methods(names: &[&str], keep_methods: bool) -> CatalogCommand {
    let methods = names.iter().map(|name| Method { name: (*name).into(), ..Method::default() }).collect();
    CatalogCommand::Deploy(DeployRecord {
        class: "A".into(),
        methods,
        keep_methods,
        ..DeployRecord::default()
    })
}

fn digests(bed: &Bed) -> Vec<String> {
    let text = |class: &Class| String::from_utf8(class.digest.to_vec()).unwrap();
    bed.state.versions("A").unwrap().iter().map(text).collect()
}

#[test]
fn a_rollback_is_a_new_version_of_what_was_there() {
    let mut bed = Bed::with(oprc_mesh::catalog::Founding { cluster: 7, expect: 1, replicas: 1 }, 1);
    for digest in ["one", "two", "three"] {
        bed.try_deploy("A", digest, None).unwrap();
    }
    let before = bed.view().class("A").unwrap().clone();
    let back = rollback(&mut bed, 0).unwrap();
    assert_eq!((&back.class.digest[..], back.class.version), (&b"two"[..], 4), "the one before");
    assert!(back.class.revision > before.revision && back.class.id == before.id && !back.unchanged);
    assert_eq!(back.class.deployed_at_ms, 77);
    assert_eq!(bed.view().class("A"), Some(&back.class));
    let back = rollback(&mut bed, 1).unwrap();
    assert_eq!((&back.class.digest[..], back.class.version), (&b"one"[..], 5));
    assert_eq!(digests(&bed), ["one", "two", "three", "two", "one"]);
    // what is so already stays, as in a deployment
    let same = rollback(&mut bed, 1).unwrap();
    assert!(same.unchanged && same.class.version == 5 && same.revision == bed.view().revision);
}

#[test]
fn what_cannot_be_gone_back_to_is_refused_and_changes_nothing() {
    let mut bed = Bed::with(oprc_mesh::catalog::Founding { cluster: 7, expect: 1, replicas: 1 }, 1);
    assert_eq!(rollback(&mut bed, 0).unwrap_err().kind(), Code::NotFound);
    bed.try_deploy("A", "one", None).unwrap();
    let before = bed.state.clone();
    assert_eq!(rollback(&mut bed, 0).unwrap_err().kind(), Code::Conflict);
    let absent = rollback(&mut bed, 2).unwrap_err();
    assert_eq!(absent.kind(), Code::NotFound);
    assert!(absent.detail.contains("versions 1 to 1"), "{}", absent.detail);
    assert_eq!(bed.state, before);
    bed.run(&CatalogCommand::Remove(RemoveRecord { class: "A".into(), purge: false })).unwrap();
    assert_eq!(rollback(&mut bed, 1).unwrap_err().kind(), Code::NotFound, "a removed class is not there");
}

#[test]
fn the_oldest_version_that_is_remembered_can_be_gone_back_to() {
    let mut bed = Bed::with(oprc_mesh::catalog::Founding { cluster: 7, expect: 1, replicas: 1 }, 1);
    for n in 0..=VERSIONS_KEPT_MAX {
        bed.try_deploy(
            "A",
            if n == 1 {
                "oldest"
            } else if n % 2 == 0 {
                "even"
            } else {
                "odd"
            },
            None,
        )
        .unwrap();
    }
    let oldest = bed.state.versions("A").unwrap()[0].clone();
    assert_eq!((oldest.version, &oldest.digest[..]), (2, &b"oldest"[..]));
    assert_eq!(rollback(&mut bed, 1).unwrap_err().kind(), Code::NotFound, "forgotten");
    let back = rollback(&mut bed, 2).unwrap();
    assert_eq!(&back.class.digest[..], b"oldest");
    assert!(bed.state.refers_to(b"oldest"), "it is forgotten as version 2, but not as the current one");
    assert_eq!(bed.state.versions("A").unwrap().len(), VERSIONS_KEPT_MAX);
}

#[test]
fn callers_are_broken_only_by_force_or_by_a_rollback() {
    let mut bed = Bed::with(oprc_mesh::catalog::Founding { cluster: 7, expect: 1, replicas: 1 }, 1);
    bed.run(&with_methods(&["a"], true)).unwrap();
    bed.run(&with_methods(&["a", "b"], true)).unwrap();
    let before = bed.state.clone();
    let refused = bed.run(&with_methods(&["b", "c"], true)).unwrap_err();
    assert_eq!(refused.kind(), Code::Conflict);
    assert_eq!(bed.state, before);
    bed.run(&with_methods(&["b", "c"], false)).unwrap();
    // the same again is no change, so nothing to refuse
    assert!(deployed(bed.run(&with_methods(&["b", "c"], true)).unwrap()).unwrap().unchanged);
    let back = rollback(&mut bed, 1).unwrap();
    assert_eq!(back.class.methods.len(), 1);
    // nobody calls a class that is removed
    bed.run(&CatalogCommand::Remove(RemoveRecord { class: "A".into(), purge: false })).unwrap();
    bed.run(&with_methods(&["z"], true)).unwrap();
}
