//! No update is lost: many writers of one object, each retrying on a newer base, come to the exact sum, and the version
//! counts the commits.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{fields, increment, open, tag};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_come_to_the_exact_sum() {
    const WRITERS: u64 = 32;
    const EACH: u64 = 20;
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let partition = odgm.partitions()[0].clone();
    let writers = (0..WRITERS).map(|_| {
        let partition = Arc::clone(&partition);
        tokio::spawn(async move {
            for _ in 0..EACH {
                increment(&partition, "a").await;
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    let reader = partition.snapshot();
    assert_eq!(fields(&reader, "a"), [("value".to_owned(), (WRITERS * EACH).to_string())]);
    assert_eq!(tag(&reader, "a").version, WRITERS * EACH);
    drop(reader);
    odgm.shutdown().await;
}
