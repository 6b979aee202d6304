//! What it costs to record one call, as the gateway and the host each do for every one.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use oprc_mesh::catalog::{CatalogView, Class, Method};
use oprc_mesh::metrics::{BOUNDS, Calls};

fn record(criterion: &mut Criterion) {
    let method = |at: usize| Method { name: format!("method-{at}"), ..Method::default() };
    let class = |at: usize| Class {
        id: at as u64,
        name: format!("Class{at}"),
        methods: (0..10).map(method).collect(),
        ..Class::default()
    };
    let view =
        CatalogView { revision: 1, classes: (0..1_000).map(class).collect(), ..CatalogView::default() };
    let calls = Calls::new(BOUNDS);
    let took = Duration::from_micros(50);
    criterion.bench_function("record_one_call_of_1000_classes", |bencher| {
        bencher.iter(|| calls.record(&view, black_box(("Class500", "method-7")), 0, None, took));
    });
    criterion.bench_function("record_one_call_of_a_stranger", |bencher| {
        bencher.iter(|| calls.record(&view, black_box(("Nothing", "at-all")), 0, None, took));
    });
}

criterion_group!(benches, record);
criterion_main!(benches);
