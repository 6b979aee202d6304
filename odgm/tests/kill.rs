//! A process killed at any moment loses no acknowledged commit and applies none twice.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{fields, increment, open, tag};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DIR: &str = "OPRC_TEST_DIR";
const OBJECTS: usize = 24;
const ROUNDS: u32 = 6;
const FOUNDINGS: u32 = 8;

/// Runs in the child: counts objects up for ever and says each acknowledged version.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as the child of the test below"]
async fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let odgm = open(Path::new(&dir)).await;
    let partitions = odgm.partitions();
    let writers = (0..OBJECTS).map(|n| {
        let partition = partitions[n % partitions.len()].clone();
        tokio::spawn(async move {
            loop {
                let version = increment(&partition, &format!("object{n}")).await.version;
                let mut out = std::io::stdout().lock();
                // one write per line, so that a kill leaves no half of one that counts
                if out
                    .write_all(format!("ack {n} {version}\n").as_bytes())
                    .and_then(|()| out.flush())
                    .is_err()
                {
                    return;
                }
            }
        })
    });
    futures::future::join_all(writers).await;
}

fn spawn_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads acknowledgements until there are `enough`, kills, and reads what was still said.
fn run_and_kill(dir: &Path, enough: usize, acknowledged: &mut HashMap<usize, u64>) {
    let mut child = spawn_child(dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    let mut killed = false;
    while let Some(Ok(line)) = lines.next() {
        if seen == enough && !killed {
            child.kill().unwrap();
            killed = true;
        }
        let words: Vec<_> = line.split(' ').collect();
        if let ["ack", object, version] = words[..] {
            acknowledged.insert(object.parse().unwrap(), version.parse().unwrap());
            seen += 1;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself after {seen} acknowledgements");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_and_doubles_nothing() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = HashMap::new();
    for round in 0..ROUNDS {
        let enough = random.random_range(1..4_000);
        run_and_kill(temp.path(), enough, &mut acknowledged);
        let odgm = open(temp.path()).await;
        let partitions = odgm.partitions();
        for (n, acknowledged) in &acknowledged {
            let object = format!("object{n}");
            let reader = partitions[n % partitions.len()].snapshot();
            let version = tag(&reader, &object).version;
            assert!(
                version >= *acknowledged,
                "round {round}: {object} is at {version}, acknowledged {acknowledged}"
            );
            // each commit writes the number it counts to, so that one applied twice would differ
            assert_eq!(
                fields(&reader, &object),
                [("value".to_owned(), version.to_string())],
                "round {round}"
            );
        }
        odgm.shutdown().await;
    }
}

/// The first start takes a few fsyncs; killed anywhere in it, the next start must come up whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_founds_its_grid_starts_again() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..FOUNDINGS {
        let temp = tempfile::tempdir().unwrap();
        let mut child = spawn_child(temp.path());
        std::thread::sleep(std::time::Duration::from_micros(random.random_range(3_000..90_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let odgm = open(temp.path()).await;
        assert_eq!(odgm.partitions().len(), 16);
        let view = odgm.catalog().view();
        assert_eq!((view.nodes.len(), view.grids.len()), (1, 1));
        increment(&odgm.partitions()[0], "object").await;
        odgm.shutdown().await;
    }
}
