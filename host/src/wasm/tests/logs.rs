//! A guest's output: lines with the turn that they came from.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{json, run, types};

/// Keeps the events of guests as text.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "guest"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0.trim_end().to_owned());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What the guest wrote during one call.
async fn logged(method: &str, body: &str) -> Vec<String> {
    let (_fixture, module) = types().await;
    let kept = Kept::default();
    let _guard = tracing::subscriber::set_default(kept.clone());
    drop(run(&module, json(method, body)).await);
    kept.0.lock().unwrap().clone()
}

fn line(level: &str, stream: &str, method: &str, text: &str) -> String {
    format!(
        "{level} message={text} class=\"Bench\" object=\"object\" method=\"{method}\" invocation=\"invocation-1\" \
         stream=\"{stream}\""
    )
}

#[tokio::test]
async fn each_line_names_its_turn() {
    let lines = logged("say", "[\"one\\ntwo\",\"three\"]").await;
    let expected = [("INFO", "stdout", "one"), ("INFO", "stdout", "two"), ("WARN", "stderr", "three")];
    assert_eq!(lines, expected.map(|(level, stream, text)| line(level, stream, "say", text)));
}

#[tokio::test]
async fn a_panic_is_in_the_log() {
    let lines = logged("panic-with", "[\"oh no\"]").await;
    assert!(lines.iter().any(|line| line.contains("oh no") && line.starts_with("WARN")), "{lines:?}");
}

#[tokio::test]
async fn output_is_bounded() {
    let text = "x".repeat(100_000);
    let lines = logged("say", &format!("[\"{text}\",\"\"]")).await;
    let written: usize = lines.iter().map(|line| line.matches('x').count()).sum();
    assert!((64 * 1024..66 * 1024).contains(&written), "{written}");
    assert!(lines.iter().all(|line| line.len() < 4_400), "lines are broken");
    assert!(lines.last().unwrap().contains("the rest is dropped"));
}
