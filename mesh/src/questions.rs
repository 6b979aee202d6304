//! Questions of clients that are no part of oprc: queries of Zenoh, each answered by a task of its own, so many at once.
//!
//! Zenoh's callback only looks at a query and never blocks. What is answered leaves by a thread that may: whoever asked
//! decides what happens when its link is congested, and a link that carries nothing holds up its own answers alone.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zenoh::bytes::{Encoding, ZBytes};
use zenoh::query::{Query, Queryable};
use zenoh::{Session, Wait as _};

use crate::config::MeshError;
use crate::limits::{DEADLINE_MS_MAX, REQUEST_BYTES_MAX};
use crate::member::too_late;
use crate::mesh::Mesh;
use crate::outcome::{Code, Effect, Problem};
use crate::session::Kept;

/// Questions under way at once; one more is `overloaded`.
const QUESTIONS_MAX: usize = 2_048;
/// Refusals on their way at once; of one more nothing is said, and whoever asked hears that there is no answer.
const REFUSALS_MAX: usize = 1_024;
/// What a client says about its question, beside the payload; more is `invalid`.
const ATTACHMENT_BYTES_MAX: usize = 16 * 1024;
/// An answer that takes longer is none: whoever answers holds to a deadline of its own, which is sooner.
const PATIENCE_MS: u64 = DEADLINE_MS_MAX + 5_000;

/// What is asked, and about what.
#[derive(Debug, Clone)]
pub struct Question {
    /// The key expression, below the cluster's name. It may hold wildcards.
    pub key: String,
    /// What follows a `?` in a selector.
    pub parameters: String,
    /// What comes along.
    pub payload: Bytes,
    /// What the payload is said to be; empty when nothing is said.
    pub encoding: String,
    /// What is said about the question.
    pub attachment: Bytes,
}

/// What a question comes to.
#[derive(Debug)]
pub enum Told {
    /// An answer.
    Answer {
        /// What was asked for.
        payload: Bytes,
        /// What it is; none when there is nothing.
        encoding: Option<&'static str>,
        /// What is said about it.
        attachment: Vec<u8>,
    },
    /// A problem document.
    Refusal(Vec<u8>),
}

/// Answers questions.
pub trait Answerer: Send + Sync + 'static {
    /// Answers one, in a task of its own, until it is dropped.
    fn answer(&self, question: Question) -> BoxFuture<'static, Told>;

    /// Tells why a question about `key` is not answered. At once.
    fn refuse(&self, key: &str, problem: Problem) -> Told;
}

/// Questions are answered for as long as this lives.
pub struct Answering {
    door: Arc<Door>,
    /// The door has it weakly: the session owns the door, and whoever answers may own the session.
    _answerer: Arc<dyn Answerer>,
}

impl Mesh {
    /// Has `answerer` answer what is asked about keys that match `key`, on behalf of all who might. In a process that is
    /// alone nobody ever asks.
    ///
    /// # Errors
    /// [`MeshError::Declare`], [`MeshError::Closed`].
    pub async fn answer(
        &self,
        key: &'static str,
        answerer: Arc<dyn Answerer>,
    ) -> Result<Answering, MeshError> {
        let door = Arc::new(Door {
            key,
            answerer: Arc::downgrade(&answerer),
            admission: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            runtime: Handle::current(),
            open: Mutex::new(Standing::Open(None)),
        });
        if let Some(link) = self.link() {
            let door = door.clone();
            let declare =
                move |session| -> BoxFuture<'static, _> { Box::pin(Door::declare(door.clone(), session)) };
            link.declare(Box::new(declare)).await?;
        }
        Ok(Answering { door, _answerer: answerer })
    }
}

impl Answering {
    /// Takes no more questions: others that answer are asked from now on.
    pub fn stop(&self) {
        let open = std::mem::replace(&mut *self.door.open.lock(), Standing::Stopped);
        self.door.tasks.close();
        // outside the lock: taking it back may wait for Zenoh
        drop(open);
    }

    /// Waits until what was asked is answered.
    pub async fn answered(&self) {
        self.door.tasks.wait().await;
    }

    /// Gives up what is under way: whoever asked hears that there is no answer.
    pub fn cut(&self) {
        self.door.cut.cancel();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop();
        self.cut();
    }
}

/// Where questions come in.
struct Door {
    key: &'static str,
    answerer: Weak<dyn Answerer>,
    admission: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tasks: TaskTracker,
    cut: CancellationToken,
    runtime: Handle,
    open: Mutex<Standing>,
}

/// Whether questions are taken.
enum Standing {
    /// With what is declared on the session of the moment.
    Open(Option<Queryable<()>>),
    /// No more, on whatever session.
    Stopped,
}

impl Door {
    async fn declare(self: Arc<Self>, session: Session) -> Result<Kept, MeshError> {
        let kept: Kept = Box::new(Retract(self.clone()));
        if matches!(*self.open.lock(), Standing::Stopped) {
            return Ok(kept);
        }
        // weakly: the door owns the queryable, which owns the callback
        let door = Arc::downgrade(&self);
        let take = move |query: Query| {
            if let Some(door) = door.upgrade() {
                door.take(query);
            }
        };
        let declared = session.declare_queryable(self.key).complete(true).callback(take).await;
        let queryable = declared.map_err(|source| MeshError::Declare { key: self.key.to_owned(), source })?;
        // one that was stopped meanwhile takes it back at once
        let before = match &mut *self.open.lock() {
            Standing::Open(declared) => declared.replace(queryable),
            Standing::Stopped => Some(queryable),
        };
        drop(before);
        Ok(kept)
    }

    fn take(&self, query: Query) {
        let Some(answerer) = self.answerer.upgrade() else { return };
        let sizes = [query.payload().map_or(0, ZBytes::len), query.attachment().map_or(0, ZBytes::len)];
        match self.admit(sizes) {
            Ok(permit) => self.run(query, answerer, permit),
            Err(problem) => {
                let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
                let told = answerer.refuse(query.key_expr().as_str(), problem);
                self.tasks.spawn_on(send(query, told, permit), &self.runtime);
            }
        }
    }

    fn admit(&self, [payload, attachment]: [usize; 2]) -> Result<OwnedSemaphorePermit, Problem> {
        let problem = if self.tasks.is_closed() {
            Problem::new(Code::Unavailable, "the gateway is stopping")
        } else if payload > REQUEST_BYTES_MAX {
            let detail = format!("the payload has {payload} bytes; at most {REQUEST_BYTES_MAX} are read");
            Problem::new(Code::PayloadTooLarge, detail)
        } else if attachment > ATTACHMENT_BYTES_MAX {
            let detail =
                format!("the attachment has {attachment} bytes; at most {ATTACHMENT_BYTES_MAX} are read");
            Problem::new(Code::Invalid, detail)
        } else if let Ok(permit) = self.admission.clone().try_acquire_owned() {
            return Ok(permit);
        } else {
            Problem::new(Code::Overloaded, "too many questions from the mesh").retry_after_ms(100)
        };
        Err(problem.with_effect(Effect::NotRun))
    }

    fn run(&self, query: Query, answerer: Arc<dyn Answerer>, permit: OwnedSemaphorePermit) {
        let question = Question::of(&query);
        let key = question.key.clone();
        let answer = timeout(Duration::from_millis(PATIENCE_MS), answerer.answer(question));
        // whoever panics still answers
        let answer = AssertUnwindSafe(answer).catch_unwind();
        let cut = self.cut.clone();
        let work = async move {
            let told = match cut.run_until_cancelled_owned(answer).await {
                None => return,
                Some(Ok(Ok(told))) => told,
                Some(Ok(Err(_))) => answerer.refuse(&key, too_late()),
                Some(Err(_)) => answerer.refuse(&key, panicked()),
            };
            drop(answerer);
            send(query, told, permit).await;
        };
        self.tasks.spawn_on(work, &self.runtime);
    }
}

/// Dropped with the session: takes back what was declared on it.
struct Retract(Arc<Door>);

impl Drop for Retract {
    fn drop(&mut self) {
        let declared = match &mut *self.0.open.lock() {
            Standing::Open(declared) => declared.take(),
            Standing::Stopped => None,
        };
        // outside the lock: taking it back may wait for Zenoh
        drop(declared);
    }
}

fn panicked() -> Problem {
    let problem = Problem::new(Code::Internal, "the gateway failed on this question; its log says where");
    problem.with_effect(Effect::Unknown)
}

/// Sends what is told, from a thread that may block.
async fn send(query: Query, told: Told, permit: OwnedSemaphorePermit) {
    let sending = spawn_blocking(move || {
        let sent = match told {
            Told::Answer { payload, encoding, attachment } => query
                .reply(query.key_expr().clone(), payload)
                .encoding(encoding.map(Encoding::from).unwrap_or_default())
                .attachment(attachment)
                .wait(),
            Told::Refusal(document) => query.reply_err(document).encoding("application/problem+json").wait(),
        };
        if let Err(error) = sent {
            tracing::debug!(key = query.key_expr().as_str(), %error, "an answer was lost");
        }
        // taken back here: the end of the answers is sent as well
        drop((query, permit));
    });
    if let Err(error) = sending.await {
        tracing::warn!(%error, "an answer was lost");
    }
}

impl Question {
    fn of(query: &Query) -> Self {
        let bytes = |bytes: Option<&ZBytes>| {
            bytes.map_or_else(Bytes::new, |bytes| bytes.to_bytes().into_owned().into())
        };
        Self {
            key: query.key_expr().as_str().to_owned(),
            parameters: query.parameters().as_str().to_owned(),
            payload: bytes(query.payload()),
            encoding: query.encoding().map(ToString::to_string).unwrap_or_default(),
            attachment: bytes(query.attachment()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zenoh::key_expr::KeyExpr;

    use crate::config::MeshConfig;
    use crate::id::{ClassName, MethodName, ObjectId};
    use crate::testing::{Heard, Manner, Query as Asked, Stranger};

    /// What stands in keys as it is must be a chunk that Zenoh takes, and that `**` matches.
    #[test]
    fn names_and_ids_stand_in_keys_as_they_are() {
        let any = KeyExpr::try_from("oprc/api/**").unwrap();
        let mut ids = 0;
        for first in (0..=127_u8).map(char::from) {
            for second in (0..=127_u8).map(char::from) {
                let text = format!("{first}{second}x");
                let named = ClassName::parse(&text).is_ok() || MethodName::parse(&text).is_ok();
                if named || ObjectId::parse(&text).is_ok() {
                    let key = KeyExpr::try_from(format!("oprc/api/A/objects/{text}/invokes/m"));
                    assert!(any.includes(&key.unwrap()), "{text}");
                    ids += 1;
                }
            }
        }
        assert!(ids > 4_000, "{ids}");
        assert!(KeyExpr::try_from("oprc/api/A/objects/b/fields/%2A%24%3F%23%2F%40").is_ok());
    }

    /// Gives back what it is asked, and panics when told to.
    struct Echo;

    impl Answerer for Echo {
        fn answer(&self, question: Question) -> BoxFuture<'static, Told> {
            Box::pin(async move {
                assert!(!question.key.ends_with("panic"), "as told");
                let encoding = (question.encoding == "application/json").then_some("application/json");
                Told::Answer { payload: question.payload, encoding, attachment: question.attachment.to_vec() }
            })
        }

        fn refuse(&self, _key: &str, problem: Problem) -> Told {
            Told::Refusal(problem.kind().as_str().into())
        }
    }

    async fn gateway(cluster: &str) -> (Mesh, Answering, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp/{}", listener.local_addr().unwrap());
        drop(listener);
        let config = MeshConfig {
            listen: vec![endpoint.clone()],
            cluster: cluster.to_owned(),
            ..MeshConfig::default()
        };
        let mesh = Mesh::open(config).await.unwrap();
        let answering = mesh.answer("oprc/api/**", Arc::new(Echo)).await.unwrap();
        (mesh, answering, endpoint)
    }

    fn said(payload: &str, attachment: Vec<u8>) -> Asked {
        Asked { payload: payload.into(), encoding: "application/json".into(), attachment }
    }

    /// Asks until there is an answer: a link may still be on its way to standing.
    async fn until_told(stranger: &Stranger, key: &str, query: Asked) -> Heard {
        loop {
            if let Some(heard) = stranger.ask(key, query.clone()).await.unwrap().pop() {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn questions_are_answered_whatever_becomes_of_the_session() {
        let (mesh, answering, endpoint) = gateway("red").await;
        let manner = Manner { cluster: "red".into(), ..Manner::default() };
        let stranger = Stranger::link(&endpoint, &manner).await.unwrap();
        let heard = until_told(&stranger, "oprc/api/a", said("[1]", b"about".to_vec())).await;
        assert_eq!(
            heard,
            Heard {
                ok: true,
                payload: "[1]".into(),
                encoding: "application/json".into(),
                attachment: "about".into()
            }
        );
        // a wildcard is asked once, and who panics still answers
        assert_eq!(stranger.ask("oprc/api/**", said("x", Vec::new())).await.unwrap().len(), 1);
        let refused = until_told(&stranger, "oprc/api/panic", Asked::default()).await;
        assert_eq!((refused.ok, &*refused.payload), (false, &b"internal"[..]));
        assert_eq!(refused.encoding, "application/problem+json");
        let refused =
            until_told(&stranger, "oprc/api/a", said("", vec![b' '; ATTACHMENT_BYTES_MAX + 1])).await;
        assert_eq!(&*refused.payload, b"invalid");
        assert!(until_told(&stranger, "oprc/api/a", said("", vec![b' '; ATTACHMENT_BYTES_MAX])).await.ok);
        let large = "x".repeat(REQUEST_BYTES_MAX + 1);
        assert_eq!(
            &*until_told(&stranger, "oprc/api/a", said(&large, Vec::new())).await.payload,
            b"payload-too-large"
        );

        let link = mesh.link().unwrap();
        link.renew(link.generation()).await;
        assert!(until_told(&stranger, "oprc/api/a", said("again", Vec::new())).await.ok);

        answering.stop();
        answering.answered().await;
        while !stranger.ask("oprc/api/a", Asked::default()).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // and it stays so on a session to come
        link.renew(link.generation()).await;
        assert!(matches!(*answering.door.open.lock(), Standing::Stopped));
        stranger.leave().await;
        mesh.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_is_not_of_the_cluster_gets_no_answer() {
        let (mesh, _answering, endpoint) = gateway("red").await;
        let manner = Manner { cluster: "blue".into(), ..Manner::default() };
        let stranger = Stranger::link(&endpoint, &manner).await.unwrap();
        let member = Manner { cluster: "red".into(), ..Manner::default() };
        let member = Stranger::link(&endpoint, &member).await.unwrap();
        until_told(&member, "oprc/api/a", Asked::default()).await;
        assert!(stranger.ask("oprc/api/a", Asked::default()).await.unwrap().is_empty());
        for stranger in [stranger, member] {
            stranger.leave().await;
        }
        mesh.close().await;
    }
}
