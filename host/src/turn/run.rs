//! Runs calls: a mutating method as a turn in its object's mailbox, a read-only method on a snapshot beside it, a
//! function without an object.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oprc_mesh::Mesh;
use oprc_mesh::canary::Served;
use oprc_mesh::catalog::{CatalogView, Class, ClassLimits};
use oprc_mesh::id::{ClassName, MethodName, NodeId, ObjectId};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::trace::Span;
use oprc_mesh::wire::{Consistency, Invoke, Invoked};
use oprc_odgm::{Head, Odgm, Partition, Reader, Rejection, Told};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::access::{Bound, Mode, TurnAccess};
use super::chain::Ahead;
use super::commit::{Committed, Stage, Work};
use super::effects::{Origin, Turned};
use super::gate::Looked;
use super::mailbox::{Mailboxes, Place};
use super::nested;
use super::once::{CallId, invoked_again, is_outcome, told_of, version};
use super::others::Others;
use super::read::ready_to_read;
use super::standing::Standing;
use super::traced::partition;
use crate::classes::{Classes, LoadedClass, find};
use crate::logs::{Logs, Said};
use crate::metrics::{Metrics, Via};
use crate::wasm::{Call, Output};

/// A turn whose base moved under it is run again so often; then its caller is told to.
pub(super) const RUNS_MAX: usize = 16;
/// How long a turn waits for this host to notice that it leads in a later term.
const TERM_PAUSE: Duration = Duration::from_millis(20);

/// Everything that a turn needs.
pub(crate) struct Turns {
    pub(super) odgm: Arc<Odgm>,
    pub(super) mesh: Mesh,
    pub(super) classes: Arc<Classes>,
    pub(super) others: Arc<Others>,
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) commits: AtomicU64,
    /// Commits that are seen through.
    pub(super) tasks: TaskTracker,
    /// Asynchronous calls that run here, and who waits for them.
    pub(super) standing: Standing,
    /// What guests print.
    pub(crate) logs: Arc<Logs>,
}

/// An object's place: what of its class a commit is fenced by, and the partition that owns it.
pub(super) struct Home {
    pub(super) class: u64,
    pub(super) revision: u64,
    pub(super) limits: ClassLimits,
    pub(super) partition: Arc<Partition>,
    /// The catalog by which it was found.
    pub(super) view: Arc<CatalogView>,
}

/// One run of a turn.
struct Run<'a> {
    turn: Turn<'a>,
    class: &'a LoadedClass,
    stage: Stage<'a>,
    id: Option<&'a CallId<'a>>,
}

/// What is to be run as a turn, and why.
#[derive(Clone, Copy)]
struct Turn<'a> {
    class: &'a ClassName,
    object: &'a ObjectId,
    method: &'a MethodName,
    invoke: &'a Invoke,
    deadline: Instant,
    origin: &'a Origin,
}

/// What one run of a turn came to.
enum Ran {
    Done(Invoked),
    Again(Rejection),
}

impl Turns {
    pub(crate) fn new(odgm: Arc<Odgm>, mesh: Mesh, classes: Arc<Classes>, tasks: TaskTracker) -> Self {
        let others = Arc::new(Others::new(odgm.clone(), mesh.clone()));
        let (mailboxes, standing) = (Mailboxes::new(), Standing::default());
        let (commits, logs) = (AtomicU64::new(0), Arc::default());
        Self { odgm, mesh, classes, others, mailboxes, commits, tasks, standing, logs }
    }

    /// The catalog as this host knows it.
    pub(crate) fn view(&self) -> Arc<CatalogView> {
        self.odgm.catalog().view()
    }

    /// Turns that committed since start.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// What was counted of them.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.others.metrics
    }

    /// See [`Mailboxes::waiting`].
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.mailboxes.waiting()
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Serves one call.
    ///
    /// # Errors
    /// `not-found` for class or method, `invalid` for names and arguments, `not-leader`, `overloaded`, the function's own
    /// error, and every limit of a turn.
    pub(super) async fn serve_call(&self, invoke: Invoke, deadline: Instant) -> Result<Invoked, Problem> {
        let class = ClassName::parse(&invoke.class)?;
        let method = MethodName::parse(&invoke.method)?;
        let object = invoke.object.as_deref().map(ObjectId::parse).transpose()?;
        let invoke = named(invoke);
        let begun = Instant::now();
        let done = self.run_call(&class, object.as_ref(), &method, &invoke, deadline).await;
        let (failed, replayed) = match &done {
            Ok(invoked) => (None, invoked.replayed),
            Err(problem) => (Some(problem.kind()), problem.replayed),
        };
        if replayed {
            self.metrics().replays.one();
        }
        let names = (class.as_str(), method.as_str());
        self.metrics().ran(&self.view(), names, Via::Call, failed, begun.elapsed());
        done
    }

    async fn run_call(
        &self,
        class: &ClassName,
        object: Option<&ObjectId>,
        method: &MethodName,
        invoke: &Invoke,
        deadline: Instant,
    ) -> Result<Invoked, Problem> {
        self.classes.catch_up(class, invoke.revision, deadline).await?;
        match object {
            Some(object) => self.method(class, object, method, invoke, deadline).await,
            None => self.function(class, method, invoke, deadline, None).await,
        }
    }

    async fn method(
        &self,
        class: &ClassName,
        object: &ObjectId,
        method: &MethodName,
        invoke: &Invoke,
        deadline: Instant,
    ) -> Result<Invoked, Problem> {
        // A deploy may change what the method is; whoever holds the other opinion is told before anything runs.
        let readonly = self.classes.resolve(class, Served::Object(object)).await?.is_readonly(method);
        if invoke.readonly.is_some_and(|expected| expected != readonly) {
            return Err(changed());
        }
        if readonly {
            self.read(class, object, method, invoke, deadline).await
        } else if invoke.consistency() == Consistency::Stale {
            Err(not_stale(method))
        } else {
            Box::pin(self.turn(class, object, method, invoke, deadline, &Origin::default())).await
        }
    }

    /// A mutating method: queued, run, committed; run again when what it was computed from moved.
    pub(super) async fn turn(
        &self,
        class: &ClassName,
        object: &ObjectId,
        method: &MethodName,
        invoke: &Invoke,
        deadline: Instant,
        origin: &Origin,
    ) -> Result<Invoked, Problem> {
        let turn = Turn { class, object, method, invoke, deadline, origin };
        let mut called = false;
        let done = self.runs(turn, &mut called).await;
        done.map_err(|problem| if called { nested::after_calls(problem) } else { problem })
    }

    /// Its runs; `called` tells whether one of them has called others.
    async fn runs(&self, turn: Turn<'_>, called: &mut bool) -> Result<Invoked, Problem> {
        let Turn { class, object, method, invoke, deadline, origin } = turn;
        let home = self.home(class, object)?;
        home.partition.leadership()?; // who does not lead keeps nobody waiting
        let mut place = self.mailboxes.enter(home.class, object).await?;
        // a message takes effect once because its turn's commit uses it up; an asynchronous call has its id as well
        let id =
            (origin.delivery.is_none() || origin.asked).then(|| CallId::of_call(invoke, deadline)).flatten();
        let _running = origin
            .asked
            .then(|| self.standing.run((home.class, object.as_str().to_owned(), invoke.invocation.clone())));
        for _ in 0..RUNS_MAX {
            place.take_turn().await;
            let ahead = home.while_serving(place.chain().ready()).await?;
            let loaded = self.classes.resolve(class, Served::Object(object)).await?;
            if loaded.is_readonly(method) {
                return Err(changed());
            }
            before(deadline)?;
            let home = self.place(&loaded.class, class, object)?;
            // before any state is read, so that a commit computed from that state carries a term no later than it
            let term = home.partition.leadership()?;
            let stage = Stage { home: &home, term, object, ahead };
            match stage.look(&mut place, id.as_ref()).await? {
                Looked::New => {}
                Looked::Known(known) => return invoked_again(*known),
                Looked::Again => continue,
            }
            Span::current().set(|| [partition(home.partition.group())]);
            let run = Run { turn, class: &loaded, stage, id: id.as_ref() };
            match self.run_once(run, &mut place, called).await? {
                Ran::Done(invoked) => return Ok(invoked),
                Ran::Again(rejection) => {
                    Span::current().event("run again", || []);
                    self.settle(&home, term, rejection, deadline).await?;
                }
            }
        }
        Err(moving())
    }

    /// Waits until what a commit was rejected for is known here, so that running it again has a chance.
    pub(super) async fn settle(
        &self,
        home: &Home,
        term: u64,
        rejection: Rejection,
        deadline: Instant,
    ) -> Result<(), Problem> {
        self.metrics().rerun(&rejection);
        match rejection {
            Rejection::Revision { current } => self.classes.wait_for(current, deadline).await,
            // the partition has a later term than this host thought: it leads in that one, or not at all
            Rejection::Term { .. } => {
                let pause = tokio::time::sleep_until(deadline.min(Instant::now() + TERM_PAUSE));
                if home.partition.leadership()? == term {
                    pause.await;
                }
                Ok(())
            }
            Rejection::Base { .. } => Ok(()),
            Rejection::Settled => Err(settled()),
        }
    }

    async fn run_once(&self, run: Run<'_>, place: &mut Place, called: &mut bool) -> Result<Ran, Problem> {
        let Run { turn: Turn { method, invoke, deadline, origin, .. }, class, stage, id } = run;
        let (home, object, head) = (stage.home, stage.object, stage.head()?);
        let led = Some((home.partition.clone(), stage.term));
        let bound =
            Bound { led, ..bound(class, home, object, (home.partition.reader(), head, stage.ahead.clone())) };
        let access = TurnAccess::new(self.others.clone(), Some(bound), Mode::ReadWrite, home.limits);
        let (outcome, access) =
            self.guest(class, call(class, method, invoke, deadline, origin.tried()), access).await;
        let (base, waits) = (access.base(), access.waits());
        let outcome = nested::outcome(invoke, waits, outcome);
        *called |= waits.any();
        let turned = Turned { class: &class.class, name: &class.name, home, object, method, origin };
        let (work, outcome) = match turned.effects(access, &outcome) {
            Ok(work) => (work, outcome),
            Err(problem) => (None, Err(problem)),
        };
        let outcome = outcome.map(|output| invoked(class, output, Some(base.version)));
        let Some(work) = work.or_else(|| to_keep(id, waits.any(), &outcome)) else {
            // Nothing is to be committed, and yet the answer, also that of a function that failed, leaves only if all
            // that was read is one committed state of this term.
            if !stage.stands(place, base, invoke.consistency()).await? {
                return Ok(Ran::Again(Rejection::Base { current: base }));
            }
            return Ok(Ran::Done(outcome?));
        };
        let told = match &outcome {
            Ok(invoked) => told_of(invoked),
            Err(problem) => Told::Failed(problem.clone()),
        };
        let open = outcome.as_ref().is_err_and(nested::ended_open);
        let kept =
            id.filter(|_| !open && origin.decides(&work)).map(|id| (id, id.outcome(told, &home.limits)));
        match self.commit(place, &stage, head, work, kept).await? {
            Committed::Done(tag) => {
                self.count_commit();
                Ok(Ran::Done(Invoked { version: Some(version(tag)), ..outcome? }))
            }
            Committed::Before(known) => invoked_again(*known).map(Ran::Done),
            Committed::Again(rejection) => Ok(Ran::Again(rejection)),
        }
    }

    /// A read-only method: beside the mailbox, on a snapshot. That is taken after the leadership was confirmed, and so holds
    /// all that was acknowledged before the call came, however long this host stands still in between.
    pub(super) async fn read(
        &self,
        class: &ClassName,
        object: &ObjectId,
        method: &MethodName,
        invoke: &Invoke,
        deadline: Instant,
    ) -> Result<Invoked, Problem> {
        let class = self.classes.resolve(class, Served::Object(object)).await?;
        if !class.is_readonly(method) {
            return Err(changed());
        }
        let home = self.place(&class.class, &class.name, object)?;
        let stale_ms = ready_to_read(&home.partition, invoke.consistency()).await?;
        let reader = home.partition.snapshot();
        let head = reader.head(home.class, object)?;
        let bound = bound(&class, &home, object, (reader, head, None));
        let access = TurnAccess::new(self.others.clone(), Some(bound), Mode::ReadOnly, home.limits);
        let (outcome, access) =
            self.guest(&class, call(&class, method, invoke, deadline, None), access).await;
        Ok(Invoked { stale_ms, ..invoked(&class, outcome?, Some(access.base().version)) })
    }

    /// A function: no object, no commit.
    pub(super) async fn function(
        &self,
        class: &ClassName,
        method: &MethodName,
        invoke: &Invoke,
        deadline: Instant,
        tried: Option<u64>,
    ) -> Result<Invoked, Problem> {
        let class = self.classes.resolve(class, Served::Call(&invoke.invocation)).await?;
        let access = TurnAccess::new(self.others.clone(), None, Mode::ReadOnly, class.class.settings.limits);
        let (outcome, access) =
            self.guest(&class, call(&class, method, invoke, deadline, tried), access).await;
        let waits = access.waits();
        let done = nested::outcome(invoke, waits, outcome);
        let done = match tried {
            Some(_) => done, // its message is tried again
            None => done.map_err(|problem| nested::failed_for_good(waits, problem)),
        };
        Ok(invoked(&class, done?, None))
    }

    /// Where `object` lives now, by the catalog alone: reading and writing fields needs no code.
    pub(super) fn home(&self, name: &ClassName, object: &ObjectId) -> Result<Home, Problem> {
        let view = self.odgm.catalog().view();
        self.place_in(&view, find(&view, name)?.serving(Served::Object(object)), name, object)
    }

    /// Where `object` of `class` lives now, if this host holds it.
    fn place(&self, class: &Class, name: &ClassName, object: &ObjectId) -> Result<Home, Problem> {
        self.place_in(&self.odgm.catalog().view(), class, name, object)
    }

    fn place_in(
        &self,
        view: &Arc<CatalogView>,
        class: &Class,
        name: &ClassName,
        object: &ObjectId,
    ) -> Result<Home, Problem> {
        let group = view.locate(class, name, object).map(|info| info.group).ok_or_else(|| not_here(None))?;
        let partition = self.held(group)?;
        let (id, revision, limits) = (class.id, class.revision, class.settings.limits);
        Ok(Home { class: id, revision, limits, partition, view: view.clone() })
    }

    /// The partition of a group.
    ///
    /// # Errors
    /// `not-leader`, with the leader if it is known, when this host does not hold it.
    pub(crate) fn held(&self, group: u64) -> Result<Arc<Partition>, Problem> {
        self.odgm.partition(group).ok_or_else(|| not_here(self.mesh.directory().leader(group)))
    }
}

/// Nothing is written, and yet whoever called is to get the same answer again, and a run that called others is to end in it.
fn to_keep(id: Option<&CallId<'_>>, waited: bool, outcome: &Result<Invoked, Problem>) -> Option<Work> {
    let outcome = outcome.as_ref().err().is_none_or(is_outcome);
    id.filter(|id| (id.answers_always() || waited) && outcome).map(|_| Work::none())
}

/// A turn's view of `object` as `reader` sees it under what is ahead.
fn bound(
    class: &LoadedClass,
    home: &Home,
    object: &ObjectId,
    (reader, head, ahead): (Reader, Option<Head>, Option<Ahead>),
) -> Bound {
    let (class, object) = (class.name.clone(), object.clone());
    Bound { class, class_id: home.class, object, reader, head, ahead, led: None }
}

fn not_here(leader: Option<NodeId>) -> Problem {
    let problem = Problem::new(Code::NotLeader, "this host does not hold the partition");
    Problem { leader: leader.map_or(0, |node| node.0), ..problem.with_effect(Effect::NotRun) }
}

/// `tried`: which try of the message it is that it is run for.
fn call(
    class: &LoadedClass,
    method: &MethodName,
    invoke: &Invoke,
    deadline: Instant,
    tried: Option<u64>,
) -> Call {
    Call {
        class: class.name.clone(),
        method: method.clone(),
        payload: invoke.payload.clone(),
        form: invoke.form(),
        accept: invoke.accept(),
        invocation: invoke.invocation.clone(),
        caller: invoke.caller.clone(),
        headers: invoke.headers.clone(),
        limits: class.class.settings.limits,
        deadline,
        keyed: invoke.keyed || tried.is_some(),
        attempts: tried.unwrap_or_default(),
        chain: invoke.chain.clone(),
        egress: class.egress.clone(),
        said: Said::default(),
    }
}

fn invoked(class: &LoadedClass, output: Output, version: Option<u64>) -> Invoked {
    let class_version = Some(class.class.version);
    let mut invoked = Invoked { payload: output.payload, version, class_version, ..Invoked::default() };
    invoked.set_form(output.form);
    invoked
}

/// A call without an id gets one: what it calls in turn is named after it.
fn named(invoke: Invoke) -> Invoke {
    if invoke.invocation.is_empty() {
        return Invoke { invocation: uuid::Uuid::new_v4().to_string(), ..invoke };
    }
    invoke
}

/// The deadline holds also for what waited long: nobody expects it to run any more.
pub(super) fn before(deadline: Instant) -> Result<(), Problem> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Problem::new(Code::Deadline, "the deadline passed before the turn began").with_effect(Effect::NotRun))
}

fn not_stale(method: &MethodName) -> Problem {
    Problem::new(
        Code::Invalid,
        format!("method {method} may write: it cannot run on a replica that is behind"),
    )
    .with_effect(Effect::NotRun)
    .hint("list it as `readonly` in the manifest if it only reads, or call it without consistency=stale")
}

fn changed() -> Problem {
    Problem::new(Code::StaleClass, "a deploy changed whether the method only reads")
        .with_effect(Effect::NotRun)
}

/// What the turn was run for is done.
fn settled() -> Problem {
    Problem::new(Code::Conflict, "the message was settled before").with_effect(Effect::NotRun)
}

pub(super) fn moving() -> Problem {
    Problem::new(Code::Unavailable, "the object's partition kept changing hands or code during the call")
        .with_effect(Effect::NotRun)
        .retry_after_ms(100)
}
