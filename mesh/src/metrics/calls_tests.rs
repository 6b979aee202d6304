#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::catalog::{Class, Method};
use crate::metrics::cell::WAYS;
use crate::metrics::{BOUNDS, Page, Source};

const TOLD: Told = Told {
    counts: ("calls", "Calls."),
    durations: ("durations", "Durations."),
    way: "way",
    ways: &["here", "there", "beyond"],
};

struct Recorded {
    calls: Arc<Calls>,
    view: Mutex<CatalogView>,
}

impl Source for Recorded {
    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let view = self.view.lock().unwrap();
        self.calls.tell(&view, &TOLD, sheet)?;
        self.calls.tell_sizes(&view, ("sizes", "Sizes."), sheet)
    }
}

/// The samples of a family, by their labels.
async fn samples(calls: &Arc<Calls>, view: &CatalogView, name: &str) -> BTreeMap<String, u64> {
    let source = Recorded { calls: calls.clone(), view: Mutex::new(view.clone()) };
    let text = Page::new([Arc::new(source) as Arc<dyn Source>]).text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

fn class(name: &str, methods: usize, revision: u64) -> Class {
    let method = |at| Method { name: format!("m{at:04}"), ..Method::default() };
    let methods = (0..methods).map(method).collect();
    Class { id: 1, name: name.to_owned(), revision, methods, ..Class::default() }
}

fn view(revision: u64, classes: Vec<Class>) -> CatalogView {
    CatalogView { revision, classes, ..CatalogView::default() }
}

fn record(calls: &Calls, view: &CatalogView, class: &str, method: &str) {
    calls.record(view, (class, method), 0, None, Duration::from_millis(1));
}

#[tokio::test]
async fn calls_are_counted_by_what_the_catalog_knows() {
    let calls = Arc::new(Calls::new(BOUNDS));
    let view = view(1, vec![class("A", 2, 1)]);
    for at in 0..100 {
        record(&calls, &view, &format!("Made{at}"), "up");
        record(&calls, &view, "A", &format!("made{at}"));
    }
    record(&calls, &view, "A", "m0001");
    calls.record(&view, ("A", "m0001"), 1, Some(Code::Trap), Duration::from_secs(1));
    let told = samples(&calls, &view, "calls_total").await;
    let expected = [
        (r#"class="A",method="_other",outcome="ok",way="here""#, 100),
        (r#"class="A",method="m0001",outcome="ok",way="here""#, 1),
        (r#"class="A",method="m0001",outcome="trap",way="there""#, 1),
        (r#"class="_other",method="_other",outcome="ok",way="here""#, 100),
    ];
    assert_eq!(told, expected.map(|(labels, count)| (labels.to_owned(), count)).into());
    let durations = samples(&calls, &view, "durations_count").await;
    assert_eq!(durations[r#"class="A",method="m0001""#], 2);
}

#[tokio::test]
async fn a_class_keeps_its_series_over_a_deploy_and_loses_them_with_itself() {
    let calls = Arc::new(Calls::new(BOUNDS));
    let before = view(1, vec![class("A", 2, 1), class("B", 1, 1)]);
    for (class, method) in [("A", "m0000"), ("A", "m0001"), ("B", "m0000")] {
        record(&calls, &before, class, method);
        calls.size(&before, class, 1);
    }
    // the new version has one method less
    let deployed = view(2, vec![class("A", 1, 2), class("B", 1, 1)]);
    record(&calls, &deployed, "A", "m0000");
    record(&calls, &deployed, "A", "m0001");
    let told = samples(&calls, &deployed, "calls_total").await;
    assert_eq!(told[r#"class="A",method="m0000",outcome="ok",way="here""#], 2);
    assert_eq!(told[r#"class="A",method="_other",outcome="ok",way="here""#], 1);
    assert_eq!(told.len(), 3, "{told:?}");
    let removed = view(3, vec![class("B", 1, 1)]);
    assert_eq!(samples(&calls, &removed, "calls_total").await.len(), 1);
    assert_eq!(samples(&calls, &removed, "sizes_count").await, [(r#"class="B""#.to_owned(), 1)].into());
}

#[tokio::test]
async fn a_generic_class_has_the_methods_of_its_manifest() {
    let calls = Arc::new(Calls::new(BOUNDS));
    let mut generic = class("G", 0, 1);
    generic.generic = true;
    generic.settings.readonly = vec!["get".to_owned()];
    let view = view(1, vec![generic]);
    for method in ["get", "made", "up"] {
        record(&calls, &view, "G", method);
    }
    let told = samples(&calls, &view, "calls_total").await;
    assert_eq!(told[r#"class="G",method="get",outcome="ok",way="here""#], 1);
    assert_eq!(told[r#"class="G",method="_other",outcome="ok",way="here""#], 2);
}

#[tokio::test]
async fn methods_at_the_bound_have_series_and_one_past_it_has_none() {
    let calls = Arc::new(Calls::new(BOUNDS));
    let all = view(1, vec![class("A", BOUNDS.methods + 1, 1)]);
    let methods = all.classes[0].methods.clone();
    for method in &methods {
        record(&calls, &all, "A", &method.name);
    }
    let told = samples(&calls, &all, "calls_total").await;
    assert_eq!(told.len(), BOUNDS.methods + 1);
    assert!(
        !told.contains_key(&format!(r#"class="A",method="m{:04}",outcome="ok",way="here""#, BOUNDS.methods))
    );
    assert_eq!(told[r#"class="_other",method="_other",outcome="ok",way="here""#], 1);
    assert_eq!(samples(&calls, &all, "durations_count").await.len(), BOUNDS.methods + 1);
    // the room of what left is given to others
    let others = view(2, vec![Class { id: 2, ..class("B", 1, 2) }]);
    record(&calls, &others, "B", "m0000");
    assert_eq!(samples(&calls, &others, "calls_total").await.len(), 2);
}

#[tokio::test]
async fn series_at_the_bound_are_told_and_what_is_past_it_is_other() {
    let calls = Arc::new(Calls::new(BOUNDS));
    let all = view(1, vec![class("A", BOUNDS.methods, 1)]);
    let methods = all.classes[0].methods.clone();
    let mut sent = 0;
    for code in [None].into_iter().chain(Code::ALL.iter().copied().map(Some)) {
        for way in 0..WAYS {
            for method in &methods {
                calls.record(&all, ("A", &method.name), way, code, Duration::ZERO);
                sent += 1;
            }
        }
    }
    let told = samples(&calls, &all, "calls_total").await;
    let own = told.keys().filter(|labels| labels.starts_with(r#"class="A""#)).count();
    assert_eq!(own, BOUNDS.series - WAYS * u32::BITS as usize);
    assert!(told.len() <= BOUNDS.series, "{}", told.len());
    assert_eq!(told.values().sum::<u64>(), sent, "every call is counted once");
}

#[tokio::test]
async fn classes_at_the_bound_have_sizes_and_one_past_it_has_none() {
    let calls = Arc::new(Calls::new(BOUNDS));
    let classes = (0..=BOUNDS.classes).map(|at| class(&format!("C{at}"), 0, 1)).collect();
    let all = view(1, classes);
    for class in &all.classes {
        calls.size(&all, &class.name, 1 << 20);
    }
    let told = samples(&calls, &all, "sizes_count").await;
    assert_eq!(told.len(), BOUNDS.classes + 1);
    assert_eq!(told[r#"class="_other""#], 1);
}
