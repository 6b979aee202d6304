//! Canaries: what each command does to a class that has one, and random histories against a model of a few lines.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use oprc_mesh::catalog::{Class, ClassSettings, Founding, Method, OwnGrid};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Deployed;
use proptest::collection::vec;
use proptest::prelude::*;

use super::CatalogReply;
use super::change_tests::Bed;
use crate::record::{
    CanaryRecord, CatalogCommand, DeployRecord, PromoteRecord, RemoveRecord, RollbackRecord,
};

const CODES: [&str; 4] = ["one", "two", "three", "four"];

fn code(digest: &'static str) -> DeployRecord {
    DeployRecord {
        class: "A".into(),
        digest: Bytes::from_static(digest.as_bytes()),
        deployed_at_ms: 5,
        ..DeployRecord::default()
    }
}

fn bed() -> Bed {
    Bed::with(Founding { cluster: 7, expect: 1, replicas: 1 }, 1)
}

impl Bed {
    fn canary(&mut self, deploy: DeployRecord, share: u32) -> Result<Deployed, Problem> {
        deployed(self.run(&CatalogCommand::Canary(CanaryRecord { deploy, share })))
    }

    fn promote(&mut self) -> Result<Deployed, Problem> {
        deployed(self.run(&CatalogCommand::Promote(PromoteRecord { class: "A".into(), at_ms: 9 })))
    }

    fn go_back(&mut self, to: u64) -> Result<Deployed, Problem> {
        deployed(self.run(&CatalogCommand::Rollback(RollbackRecord { class: "A".into(), to, at_ms: 9 })))
    }

    fn drop_class(&mut self, purge: bool) -> Result<CatalogReply, Problem> {
        self.run(&CatalogCommand::Remove(RemoveRecord { class: "A".into(), purge }))
    }

    fn class(&self) -> Class {
        self.view().class("A").unwrap().clone()
    }

    /// The versions that are listed.
    fn numbers(&self) -> Vec<u64> {
        self.state.versions("A").unwrap().iter().map(|class| class.version).collect()
    }
}

fn deployed(reply: Result<CatalogReply, Problem>) -> Result<Deployed, Problem> {
    match reply? {
        CatalogReply::Deployed(deployed) => Ok(*deployed),
        other @ CatalogReply::Changed(_) => panic!("{other:?}"),
    }
}

fn shape(class: &Class) -> (u64, String, Option<(u64, String, u32)>) {
    let text = |digest: &Bytes| String::from_utf8(digest.to_vec()).unwrap();
    let canary = class.canary.as_ref();
    let canary = canary.map(|it| (it.class.version, text(&it.class.digest), it.share));
    (class.version, text(&class.digest), canary)
}

#[test]
fn a_canary_stands_beside_the_class_at_one_revision() {
    let mut bed = bed();
    bed.try_deploy("A", "one", None).unwrap();
    let before = bed.class();
    let begun = bed.canary(code("two"), 10).unwrap();
    assert_eq!((begun.class.version, begun.canary, begun.unchanged), (2, 10, false));
    let class = bed.class();
    assert_eq!(shape(&class), (1, "one".into(), Some((2, "two".into(), 10))));
    let canary = class.canary.as_ref().unwrap();
    assert_eq!(canary.class, begun.class);
    assert!(class.revision > before.revision, "partitions must take notice");
    assert_eq!((canary.class.revision, canary.class.id), (class.revision, class.id));
    assert_eq!((&canary.class.grid, &canary.class.name), (&class.grid, &class.name));
    assert_eq!(class.deployed_at_ms, before.deployed_at_ms);
    assert_eq!(bed.numbers(), [1], "it is no version of the class yet");
    assert!(bed.state.refers_to(b"two") && bed.state.components().contains(&b"two"[..]));
}

#[test]
fn another_share_is_the_same_canary_and_other_code_another_one() {
    let mut bed = bed();
    bed.try_deploy("A", "one", None).unwrap();
    bed.canary(code("two"), 10).unwrap();
    let same = bed.canary(code("two"), 10).unwrap();
    assert!(same.unchanged && same.class.version == 2 && same.canary == 10);
    let before = bed.class();
    let more = bed.canary(DeployRecord { deployed_at_ms: 77, ..code("two") }, 50).unwrap();
    assert_eq!((more.class.version, more.canary, more.class.deployed_at_ms), (2, 50, 5));
    assert!(bed.class().revision > before.revision);
    let other = bed.canary(code("three"), 50).unwrap();
    assert_eq!((other.class.version, other.ended, more.ended), (3, 2, 0));
    assert_eq!(shape(&bed.class()), (1, "one".into(), Some((3, "three".into(), 50))));
    assert!(!bed.state.refers_to(b"two"), "nothing needs it any more");
}

#[test]
fn a_promoted_canary_is_the_class_and_can_be_gone_back_from() {
    let mut bed = bed();
    bed.try_deploy("A", "one", None).unwrap();
    let begun = bed.canary(code("two"), 10).unwrap();
    let promoted = bed.promote().unwrap();
    assert_eq!((promoted.class.version, promoted.canary), (2, 0));
    assert!(promoted.class.revision > begun.class.revision && promoted.class.deployed_at_ms == 9);
    assert_eq!(shape(&bed.class()), (2, "two".into(), None));
    assert_eq!(bed.numbers(), [1, 2]);
    assert!(bed.state.versions("A").unwrap().iter().all(|class| class.canary.is_none()));
    assert_eq!(bed.promote().unwrap_err().kind(), Code::Conflict);
    assert_eq!(shape(&{ bed.go_back(0).unwrap().class }), (3, "one".into(), None));
}

#[test]
fn a_rollback_ends_a_canary_first_of_all() {
    let mut bed = bed();
    bed.try_deploy("A", "one", None).unwrap();
    bed.canary(code("two"), 10).unwrap();
    // there is no version before this one, and none is needed
    let before = bed.class().revision;
    let back = bed.go_back(0).unwrap();
    assert_eq!((shape(&back.class), back.unchanged, back.ended), ((1, "one".into(), None), false, 2));
    assert!(back.class.revision > before);
    assert_eq!((bed.class(), bed.numbers()), (back.class, vec![1]));
    assert!(!bed.state.refers_to(b"two"));
    // its number is not used again
    assert_eq!(bed.canary(code("three"), 10).unwrap().class.version, 3);
    assert_eq!(bed.go_back(3).unwrap_err().kind(), Code::Conflict);
    assert_eq!(shape(&bed.go_back(1).unwrap().class), (1, "one".into(), None), "asked for by its number");
    bed.try_deploy("A", "two", None).unwrap();
    bed.canary(code("three"), 10).unwrap();
    // in a hurry: both at once
    let back = bed.go_back(1).unwrap();
    assert_eq!((shape(&back.class), back.ended), ((6, "one".into(), None), 5));
    assert_eq!(bed.numbers(), [1, 4, 6]);
    assert!(bed.state.versions("A").unwrap().iter().all(|class| class.canary.is_none()));
}

#[test]
fn a_deployment_waits_for_a_word_about_the_canary() {
    let mut bed = bed();
    bed.try_deploy("A", "one", None).unwrap();
    bed.canary(code("two"), 10).unwrap();
    let before = bed.state.clone();
    for digest in ["one", "two", "three"] {
        let refused = bed.try_deploy("A", digest, None).unwrap_err();
        assert_eq!(refused.kind(), Code::Conflict);
        assert!(refused.detail.contains("version 2 serves 10% of its objects"), "{}", refused.detail);
        assert!(refused.hint.contains("oprc promote") && refused.hint.contains("oprc rollback"));
    }
    assert_eq!(bed.state, before);
}

#[test]
fn what_can_be_no_canary_is_refused_and_changes_nothing() {
    let mut bed = bed();
    assert_eq!(bed.canary(code("one"), 10).unwrap_err().kind(), Code::NotFound);
    bed.try_deploy("A", "one", None).unwrap();
    let before = bed.state.clone();
    assert_eq!(bed.canary(code("one"), 10).unwrap_err().kind(), Code::Conflict, "the class itself");
    for share in [0, 100, u32::MAX] {
        let refused = bed.canary(code("two"), share).unwrap_err();
        assert_eq!(refused.kind(), Code::Invalid);
        assert!(refused.detail.contains("1 to 99"), "{}", refused.detail);
    }
    let own_grid = Some(OwnGrid { partitions: 2, replicas: 1 });
    let settings = ClassSettings { own_grid, ..ClassSettings::default() };
    let moved = bed.canary(DeployRecord { settings, ..code("two") }, 10).unwrap_err();
    assert_eq!(moved.kind(), Code::Conflict, "both live in one grid");
    assert_eq!(bed.promote().unwrap_err().kind(), Code::Conflict);
    assert_eq!(bed.state, before);
    bed.drop_class(false).unwrap();
    assert_eq!(bed.canary(code("two"), 10).unwrap_err().kind(), Code::NotFound);
    assert_eq!(bed.promote().unwrap_err().kind(), Code::NotFound);
}

#[test]
fn callers_are_served_by_both_unless_that_is_forced() {
    let with = |names: &[&str], keep_methods| {
        let methods = names.iter().map(|name| Method { name: (*name).into(), ..Method::default() }).collect();
        DeployRecord { methods, keep_methods, ..code("two") }
    };
    let mut bed = bed();
    bed.run(&CatalogCommand::Deploy(DeployRecord { digest: "one".into(), ..with(&["a"], true) })).unwrap();
    assert_eq!(bed.canary(with(&["b"], true), 10).unwrap_err().kind(), Code::Conflict);
    bed.canary(with(&["a", "b"], true), 10).unwrap();
    bed.canary(with(&["b"], false), 10).unwrap();
    // what was forced in need not be forced again for another share, nor to become the class
    bed.canary(with(&["b"], true), 20).unwrap();
    bed.promote().unwrap();
}

#[test]
fn a_canary_goes_with_its_class_and_does_not_come_back() {
    let mut bed = bed();
    bed.try_deploy("A", "one", None).unwrap();
    bed.canary(code("two"), 10).unwrap();
    bed.drop_class(false).unwrap();
    assert!(bed.state.refers_to(b"one") && !bed.state.refers_to(b"two"));
    let back = bed.try_deploy("A", "one", None).unwrap();
    assert_eq!(shape(&back.class), (3, "one".into(), None));
    bed.canary(code("two"), 10).unwrap();
    bed.drop_class(true).unwrap();
    assert!(bed.state.components().is_empty());
}

/// One command about the class A; codes by their place in [`CODES`].
#[derive(Debug, Clone)]
enum Step {
    Deploy(usize),
    Canary(usize, u32),
    Promote,
    Rollback(u64),
    Remove(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let share = prop_oneof![Just(10_u32), Just(50), Just(0), Just(100)];
    prop_oneof![
        4 => (0..CODES.len()).prop_map(Step::Deploy),
        5 => (0..CODES.len(), share).prop_map(|(code, share)| Step::Canary(code, share)),
        2 => Just(Step::Promote),
        3 => (0..6_u64).prop_map(Step::Rollback),
        1 => any::<bool>().prop_map(Step::Remove),
    ]
}

/// What a class is to its users.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    /// Version and code, oldest first.
    history: Vec<(u64, usize)>,
    canary: Option<(u64, usize, u32)>,
    counted: u64,
    removed: bool,
}

impl Model {
    /// Whether the step is taken.
    fn take(&mut self, step: &Step) -> bool {
        let there = !self.history.is_empty() && !self.removed;
        let current = self.history.last().copied();
        match *step {
            Step::Deploy(code) => self.deploy(code, there),
            Step::Canary(code, share) => {
                if !there || !(1..=99).contains(&share) || current.is_some_and(|(_, now)| now == code) {
                    return false;
                }
                let version = match self.canary {
                    Some((version, same, _)) if same == code => version,
                    _ => self.count(),
                };
                self.canary = Some((version, code, share));
                true
            }
            Step::Promote => match self.canary.take() {
                Some((version, code, _)) if there => {
                    self.history.push((version, code));
                    true
                }
                _ => false,
            },
            Step::Rollback(to) => there && self.roll_back(to),
            Step::Remove(true) => !std::mem::take(self).history.is_empty(),
            Step::Remove(false) => {
                self.canary = None;
                there && !std::mem::replace(&mut self.removed, true)
            }
        }
    }

    fn count(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }

    fn deploy(&mut self, code: usize, there: bool) -> bool {
        if self.canary.is_some() {
            return false;
        }
        if !there || self.history.last().is_none_or(|(_, now)| *now != code) {
            let version = self.count();
            self.history.push((version, code));
        }
        self.removed = false;
        true
    }

    fn roll_back(&mut self, to: u64) -> bool {
        let before = self.history.iter().rev().nth(usize::from(self.canary.is_none()));
        let target = match to {
            0 => before,
            to => self.history.iter().find(|(version, _)| *version == to),
        };
        let Some((_, code)) = target.copied() else { return false };
        self.canary = None;
        self.deploy(code, true)
    }
}

proptest! {
    /// Whatever is done in whatever order, the catalog holds what the model says, and each change is a later revision.
    #[test]
    fn histories_are_those_of_the_model(steps in vec(step(), 1..40)) {
        let (mut bed, mut model) = (bed(), Model::default());
        for step in steps {
            let before = bed.view().class("A").cloned();
            let ran = match &step {
                Step::Deploy(at) => bed.try_deploy("A", CODES[*at], None).is_ok(),
                Step::Canary(at, share) => bed.canary(code(CODES[*at]), *share).is_ok(),
                Step::Promote => bed.promote().is_ok(),
                Step::Rollback(to) => bed.go_back(*to).is_ok(),
                Step::Remove(purge) => bed.drop_class(*purge).is_ok(),
            };
            prop_assert_eq!(ran, model.take(&step), "{:?}", step);
            let class = bed.view().class("A").cloned();
            let shown = model.history.last().filter(|_| !model.removed).map(|(version, at)| {
                let canary = model.canary.map(|(version, at, share)| (version, CODES[at].to_owned(), share));
                (*version, CODES[*at].to_owned(), canary)
            });
            prop_assert_eq!(class.as_ref().map(shape), shown);
            if let (Some(before), Some(class)) = (&before, &class) {
                prop_assert_eq!(before == class, before.revision == class.revision);
                prop_assert!(before.revision <= class.revision);
            }
            let listed = bed.state.versions("A");
            let listed: Option<Vec<_>> = listed.map(|versions| versions.iter().map(|it| it.version).collect());
            let known: Option<Vec<_>> = is_shown(&model).then(|| model.history.iter().map(|it| it.0).collect());
            prop_assert_eq!(listed, known);
            for (at, code) in CODES.iter().enumerate() {
                let held = model.history.iter().any(|it| it.1 == at) || model.canary.is_some_and(|it| it.1 == at);
                prop_assert_eq!(bed.state.refers_to(code.as_bytes()), held, "{}", code);
            }
        }
    }
}

fn is_shown(model: &Model) -> bool {
    !model.history.is_empty() && !model.removed
}
