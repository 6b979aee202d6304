//! Lines as they come, as Server-Sent Events. Each host that is alive is asked for what comes after the last line that it
//! gave, and waits for it. The next question is asked once the reader has taken the answer to the one before: a reader that
//! is slow leaves its lines with the hosts, which forget the oldest, and is told so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use oprc_mesh::access::Action;
use oprc_mesh::id::{ClassName, NodeId};
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::wire::{LogPage, ReadLogs};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::line::Line;
use super::{Asked, ask};
use crate::access::Identity;
use crate::app::App;
use crate::call::Call;
use crate::config::FOLLOWERS_MAX;
use crate::problem::Refusal;
use crate::stream::{End, Queue, Stream, heartbeats};

/// How long a host may wait for a line before it says that there is none.
const WAIT_MS: u64 = 15_000;
/// How long it may take to say so after that.
const ANSWER_MS: u64 = 10_000;
/// After a host that did not answer.
const PAUSE_MS: u64 = 1_000;

/// Begins a stream of a class's lines: the newest that there are, and then what comes.
///
/// # Errors
/// `overloaded` when as many streams are read as may be.
pub(super) fn begin(call: &Call<'_>, class: &ClassName, asked: Asked) -> Result<Stream, Refusal> {
    let app = call.app;
    let seat = app.log_followers.clone().try_acquire_owned().map_err(|_| full())?;
    let queue = app.hubs.queue();
    queue.push_past(b"retry: 1000\n: following\n\n".to_vec());
    let gone = CancellationToken::new();
    let follow = Follow { app: app.clone(), class: class.clone(), asked, queue: queue.clone() };
    let work = follow.run(call.identity.clone());
    app.hubs.tasks.spawn(gone.clone().run_until_cancelled_owned(work));
    Ok(Stream::new(queue, (seat, gone.drop_guard())))
}

fn full() -> Refusal {
    let detail = format!("{FOLLOWERS_MAX} streams of lines are read, as many as this gateway takes");
    Refusal::new(Code::Overloaded, detail).effect(Effect::NotRun)
}

/// One reader.
struct Follow {
    app: Arc<App>,
    class: ClassName,
    asked: Asked,
    queue: Arc<Queue>,
}

impl Follow {
    /// Follows until there is nothing to follow any more, or nobody who may.
    async fn run(self, identity: Identity) {
        let denied = self.app.guard.denied(&identity, Action::Deploy, &self.class, self.app.mesh.directory());
        let end = tokio::select! {
            _ = denied => End::Denied,
            () = self.removed() => End::Removed,
            () = self.app.stopping.cancelled() => End::Stopping,
            () = self.lines() => End::Stopping,
        };
        self.queue.end(end);
    }

    /// Waits until the class is no more.
    async fn removed(&self) {
        let mut views = self.app.mesh.directory().watch_view();
        let is_gone = views.wait_for(|view| view.class(self.class.as_str()).is_none()).await.is_ok();
        if !is_gone {
            std::future::pending::<()>().await; // the directory is gone, and this process with it
        }
    }

    /// Tells lines, host by host, for as long as the directory tells of hosts.
    async fn lines(&self) {
        let mut nodes = self.app.mesh.directory().watch_nodes();
        // where each host is, also one that was lost: it may come back
        let mut upto: HashMap<NodeId, u64> = HashMap::new();
        let mut asking: HashSet<NodeId> = HashSet::new();
        let mut answers = FuturesUnordered::new();
        let mut beats = heartbeats();
        loop {
            for node in nodes.borrow_and_update().iter().copied() {
                if asking.insert(node) {
                    answers.push(self.question(node, upto.get(&node).copied()));
                }
            }
            tokio::select! {
                Some((node, page)) = answers.next(), if !answers.is_empty() => {
                    asking.remove(&node);
                    if let Some(page) = page {
                        upto.insert(node, page.upto);
                        self.tell(node, page);
                        self.queue.emptied().await;
                    }
                }
                changed = nodes.changed() => if changed.is_err() { return },
                _ = beats.tick() => self.queue.push_past(b": alive\n\n".to_vec()),
            }
        }
    }

    /// Asks a host for what comes after the number `after`, or for its newest lines.
    async fn question(&self, node: NodeId, after: Option<u64>) -> (NodeId, Option<LogPage>) {
        let read = ReadLogs { after, wait_ms: WAIT_MS, ..self.asked.read(&self.class) };
        let deadline = Instant::now() + Duration::from_millis(WAIT_MS + ANSWER_MS);
        let answer = ask(&self.app, node, read, deadline).await;
        if answer.1.is_none() {
            sleep(Duration::from_millis(PAUSE_MS)).await;
        }
        answer
    }

    fn tell(&self, node: NodeId, page: LogPage) {
        let mut text = Vec::new();
        if page.gap {
            text.extend_from_slice(format!("event: gap\ndata: {{\"node\":\"{node}\"}}\n\n").as_bytes());
        }
        for told in page.items {
            // such a record is always JSON
            let Ok(line) = serde_json::to_vec(&Line::new(&self.class, node, told)) else { continue };
            text.extend_from_slice(b"data: ");
            text.extend_from_slice(&line);
            text.extend_from_slice(b"\n\n");
        }
        if !text.is_empty() {
            self.queue.push_past(text);
        }
    }
}
