//! What all requests of a gateway share, and its one way of asking the cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use oprc_mesh::catalog::{CatalogView, Class};
use oprc_mesh::id::{ClassName, NodeId};
use oprc_mesh::limits::DEADLINE_MS_DEFAULT;
use oprc_mesh::metrics::{Page, Source};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::rates::Rates;
use oprc_mesh::retry::{Miss, Next, Repeat, Tries};
use oprc_mesh::wire::{Answer, CatalogRead, Empty, Op};
use oprc_mesh::{Directory, Mesh};
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::CorsLayer;

use crate::access::Guard;
use crate::admission::{Admission, Place, Sample};
use crate::config::{FOLLOWERS_MAX, GatewayConfig, PROBES_MAX};
use crate::metrics::Metrics;
use crate::problem::Refusal;
use crate::route::{Pick, Target, pick};
use crate::stream::Hubs;

/// How long one host may take to tell its catalog.
const REFRESH_MS: u64 = 2_000;
/// How often it is looked whether a host that does not answer a read has been replaced.
const LOOK_MS: u64 = 250;
/// How long it is waited for a host that is asked whether it is there.
const PROBE_MS: u64 = 1_000;
/// Hosts that are asked for their catalog before giving up.
const REFRESH_HOSTS_MAX: usize = 3;

/// See the module.
pub(crate) struct App {
    pub(crate) mesh: Mesh,
    pub(crate) config: GatewayConfig,
    pub(crate) admission: Arc<Admission>,
    pub(crate) guard: Guard,
    /// What web pages are answered by; none when none may use it.
    pub(crate) cors: Option<CorsLayer>,
    /// Told when there are too many connections: the one that has idled for the longest hears it.
    pub(crate) crowded: Notify,
    /// Tasks that take what is left of refused bodies off the wire.
    pub(crate) lingering: TaskTracker,
    /// Streams of events.
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) metrics: Arc<Metrics>,
    /// The metrics of the whole process.
    pub(crate) page: Page,
    /// Places of those who follow what guests print.
    pub(crate) log_followers: Arc<Semaphore>,
    /// Places of those who ask over gRPC for as long as they like, and of whom nobody knows who they are: for the health, and
    /// for what there is to be called.
    pub(crate) probes: Arc<Semaphore>,
    /// Cancelled when the gateway shuts down.
    pub(crate) stopping: CancellationToken,
    alive: watch::Receiver<BTreeSet<NodeId>>,
    /// Spreads what any host can do over all of them.
    turn: AtomicUsize,
    /// When the last look at a host's catalog began that came to an end.
    refreshed: Mutex<Option<Instant>>,
}

impl App {
    pub(crate) fn new(config: GatewayConfig, guard: Guard, mesh: Mesh) -> Self {
        let calls = (config.concurrency_min, config.concurrency_max);
        let admission = Arc::new(Admission::new(calls, config.held_bytes_max, config.untaken_bytes_max));
        let hubs = Hubs::new(config.readers_max);
        let metrics = Arc::new(Metrics::new(admission.clone(), hubs.clone(), mesh.clone()));
        let own = [metrics.clone() as Arc<dyn Source>, Arc::new(mesh.clone())];
        Self {
            admission,
            page: Page::new(own.into_iter().chain(config.sources.0.iter().cloned())),
            metrics,
            guard,
            hubs,
            log_followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            probes: Arc::new(Semaphore::new(PROBES_MAX)),
            cors: config.origins.layer(),
            crowded: Notify::new(),
            alive: mesh.directory().watch_nodes(),
            mesh,
            config,
            lingering: TaskTracker::new(),
            stopping: CancellationToken::new(),
            turn: AtomicUsize::new(0),
            refreshed: Mutex::new(None),
        }
    }

    /// The newest catalog known here.
    pub(crate) fn view(&self) -> Arc<CatalogView> {
        self.mesh.directory().view()
    }

    /// The hosts that are alive, as far as is known.
    pub(crate) fn alive(&self) -> BTreeSet<NodeId> {
        self.alive.borrow().clone()
    }

    /// Asks the host that `target` calls for, and tries again as [`Tries`] decides. `op` is given the revision of the
    /// target's class as it is known, for the host to know it too. What is about a class takes a call's place meanwhile.
    ///
    /// # Errors
    /// As [`Self::ask_with`].
    pub(crate) async fn ask(
        &self,
        target: Target<'_>,
        deadline: Instant,
        repeat: Repeat,
        op: impl Fn(u64) -> Op,
    ) -> Result<Answer, Refusal> {
        let _place = self.place(target)?;
        self.ask_aside(target, deadline, repeat, op).await
    }

    /// The same for what is no client's call, or has a seat of its own: it takes no place.
    ///
    /// # Errors
    /// As [`Self::ask_with`].
    pub(crate) async fn ask_aside(
        &self,
        target: Target<'_>,
        deadline: Instant,
        repeat: Repeat,
        op: impl Fn(u64) -> Op,
    ) -> Result<Answer, Refusal> {
        let class = target.class().map(ClassName::as_str);
        let revision =
            |view: &CatalogView| class.and_then(|class| view.class(class)).map_or(0, |class| class.revision);
        self.ask_until(target, deadline, |view| (op(revision(view)), repeat)).await
    }

    /// Asks as [`Self::ask`], where it depends on the catalog: for each try `op` makes the operation from what is known
    /// then, and tells what it means to do it twice.
    ///
    /// # Errors
    /// What the host answered; `not-found` for a class that no host knows; `unavailable` or `no-quorum` with
    /// `outcome: not-run` when nobody could do it until `deadline`; `overloaded` when there is no place for it.
    pub(crate) async fn ask_with(
        &self,
        target: Target<'_>,
        deadline: Instant,
        op: impl Fn(&CatalogView) -> (Op, Repeat),
    ) -> Result<Answer, Refusal> {
        let _place = self.place(target)?;
        self.ask_until(target, deadline, op).await
    }

    /// A call's place, for what is about a class.
    pub(crate) fn place(&self, target: Target<'_>) -> Result<Option<Place<'_>>, Refusal> {
        let Some(class) = target.class() else { return Ok(None) };
        let view = self.view();
        match view.class(class.as_str()) {
            Some(known) => self.admission.place(class.as_str(), known.settings.limits.rates()),
            // names that are made up are not told apart
            None => self.admission.place("", Rates::default()),
        }
        .map(Some)
    }

    async fn ask_until(
        &self,
        target: Target<'_>,
        deadline: Instant,
        op: impl Fn(&CatalogView) -> (Op, Repeat),
    ) -> Result<Answer, Refusal> {
        let start = if target.is_spread() { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut tries = Tries::until(deadline).fixed(matches!(target, Target::Node(_)));
        let mut looked = false;
        let mut named = None;
        loop {
            // decided before it is sent: what the catalog says after a failure says nothing about what was sent
            let (operation, repeat) = op(&self.view());
            let picked = match named.take() {
                Some(node) => Pick::Ask(node, self.group_of(target)),
                None => self.pick(target, start.wrapping_add(tries.misses() as usize)),
            };
            let miss = match picked {
                Pick::UnknownClass if looked && tries.is_open() => {
                    let detail = "an earlier try may have run, and the class is not deployed any more";
                    return Err(tries.give_up(Problem::new(Code::Unavailable, detail)).into());
                }
                Pick::UnknownClass if looked => return Err(no_such_class(target)),
                Pick::UnknownClass => {
                    looked = self.refresh(deadline).await;
                    if looked {
                        continue;
                    }
                    Miss::Nobody
                }
                Pick::Nobody => Miss::Nobody,
                Pick::Ask(..) if Instant::now() >= deadline => {
                    return Err(tries.give_up(too_late()).into());
                }
                Pick::Ask(node, group) => {
                    let watched = group.filter(|_| repeat != Repeat::Never);
                    match self.call(node, operation, deadline, watched).await {
                        Ok(answer) => {
                            self.note(group, |directory, group| directory.learn_answer(group, node));
                            return Ok(answer);
                        }
                        Err(problem) => {
                            self.note(group, |directory, group| {
                                directory.learn_refusal(group, node, &problem);
                            });
                            Miss::Failed(node, problem)
                        }
                    }
                }
            };
            match tries.next(miss, repeat) {
                Next::Answer(problem) => return Err((*problem).into()),
                Next::Again(pause, node) => {
                    named = node;
                    sleep(pause).await;
                }
            }
        }
    }

    /// Asks a host, and takes note of how long its answer took.
    async fn call(
        &self,
        node: NodeId,
        op: Op,
        deadline: Instant,
        watched: Option<u64>,
    ) -> Result<Answer, Problem> {
        let sample = self.admission.strain.begin(&op);
        let call = self.mesh.call(node, op, deadline);
        let answer = match watched {
            Some(group) => self.while_leading(node, group, call).await,
            None => call.await,
        };
        self.note_answer(sample, node, &answer);
        answer
    }

    /// Waits for the answer of the host that is taken to lead `group`, but no longer once another one is known to lead: it
    /// may stand still, and what it was asked for can be had elsewhere.
    async fn while_leading(
        &self,
        node: NodeId,
        group: u64,
        mut call: BoxFuture<'_, Result<Answer, Problem>>,
    ) -> Result<Answer, Problem> {
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                () = sleep(Duration::from_millis(LOOK_MS)) => {}
            }
            if self.mesh.directory().leader(group).is_some_and(|leader| leader != node) {
                let detail = format!("host {node} did not answer, and another one leads the partition now");
                return Err(Problem::new(Code::Unavailable, detail).with_effect(Effect::Unknown));
            }
        }
    }

    /// Takes note of how long an answer took. When most take long it is looked whether it is the machine: how long does
    /// `node` take to say that it is there?
    fn note_answer(&self, sample: Sample<'_>, node: NodeId, answer: &Result<Answer, Problem>) {
        let suspicion = match answer.as_ref().map_err(Problem::kind) {
            Ok(_) => sample.answered(),
            Err(Code::Deadline | Code::Overloaded) => sample.given_up(),
            Err(_) => None,
        };
        let Some(suspicion) = suspicion else { return };
        let (mesh, strain) = (self.mesh.clone(), self.admission.strain.clone());
        self.lingering.spawn(async move {
            let begun = Instant::now();
            // who does not answer in time is strained; so is who is gone, and calls to it do not count
            let _ = mesh.greet(node, begun + Duration::from_millis(PROBE_MS)).await;
            strain.looked(suspicion, begun.elapsed().as_micros() as u64);
        });
    }

    fn note(&self, group: Option<u64>, note: impl FnOnce(&Directory, u64)) {
        if let Some(group) = group {
            note(self.mesh.directory(), group);
        }
    }

    fn pick(&self, target: Target<'_>, turn: usize) -> Pick {
        let directory = self.mesh.directory();
        pick(target, &directory.view(), &self.alive.borrow(), |group| directory.leader(group), turn)
    }

    fn group_of(&self, target: Target<'_>) -> Option<u64> {
        match self.pick(target, 0) {
            Pick::Ask(_, group) => group,
            Pick::Nobody | Pick::UnknownClass => None,
        }
    }

    /// The class as it is deployed; asks a host when this gateway does not know it.
    ///
    /// # Errors
    /// `not-found` when no host knows it either, `unavailable` when there is none to ask.
    pub(crate) async fn class(
        &self,
        name: &ClassName,
        deadline: Instant,
    ) -> Result<(Arc<CatalogView>, Class), Refusal> {
        let find = || {
            let view = self.view();
            view.class(name.as_str()).cloned().map(|class| (view, class))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        if !self.refresh(deadline).await {
            return Err(nobody_to_ask());
        }
        find().ok_or_else(|| no_such_class(Target::Function(name)))
    }

    /// The catalog, asked of a host if none is known here yet.
    ///
    /// # Errors
    /// `unavailable` when there is no host to ask.
    pub(crate) async fn known_view(&self, deadline: Instant) -> Result<Arc<CatalogView>, Refusal> {
        if self.view().revision == 0 && !self.refresh(deadline).await {
            return Err(nobody_to_ask());
        }
        Ok(self.view())
    }

    /// A host for what one host must do in several steps: the catalog's leader if it is known, otherwise any that is not
    /// `avoided`. Waits for one to appear, but not longer than a usual call may take: an upload's deadline is long for the
    /// sake of slow lines.
    ///
    /// # Errors
    /// `unavailable` when none did.
    pub(crate) async fn host(
        &self,
        avoided: &BTreeSet<NodeId>,
        deadline: Instant,
    ) -> Result<NodeId, Refusal> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if !avoided.is_empty() {
            let others: Vec<NodeId> = self.alive().difference(avoided).copied().collect();
            return others.get(turn % others.len().max(1)).copied().ok_or_else(nobody_to_ask);
        }
        let mut alive = self.alive.clone();
        let patience = deadline.min(Instant::now() + Duration::from_millis(DEADLINE_MS_DEFAULT));
        if timeout_at(patience, alive.wait_for(|alive| !alive.is_empty())).await.is_err() {
            return Err(nobody_to_ask());
        }
        match self.pick(Target::Catalog, turn) {
            Pick::Ask(node, _) => Ok(node),
            Pick::Nobody | Pick::UnknownClass => Err(nobody_to_ask()),
        }
    }

    /// Asks a host for the catalog. Calls that wait at the same time share one look, so a flood of unknown names costs
    /// hosts one question at a time. False when no host answered.
    async fn refresh(&self, deadline: Instant) -> bool {
        let arrived = Instant::now();
        let Ok(mut refreshed) = timeout_at(deadline, self.refreshed.lock()).await else { return false };
        if refreshed.is_some_and(|began| began >= arrived) {
            return true; // somebody looked after this call came
        }
        let began = Instant::now();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let alive = self.alive();
        for at in 0..alive.len().min(REFRESH_HOSTS_MAX) {
            let Some(&node) = alive.iter().nth((turn + at) % alive.len()) else { continue };
            if self.learn_from(node, deadline).await {
                *refreshed = Some(began);
                return true;
            }
        }
        false
    }

    /// Takes over what `node` knows of the catalog and of leaders.
    async fn learn_from(&self, node: NodeId, deadline: Instant) -> bool {
        let soon = deadline.min(Instant::now() + Duration::from_millis(REFRESH_MS));
        match self.mesh.call(node, Op::ReadCatalog(Empty {}), soon).await {
            Ok(Answer::Catalog(CatalogRead { view, leads })) => {
                for leads in leads {
                    self.mesh.directory().learn_leader(leads);
                }
                self.mesh.directory().learn_view(Arc::new(view));
                true
            }
            Ok(_) => false,
            Err(problem) => {
                tracing::debug!(%node, %problem, "a host did not tell its catalog");
                false
            }
        }
    }

    /// Waits until this gateway sees catalog revision `revision`, so that what a client does next finds it; asks `node`,
    /// or any host, when it does not yet. False when it did not come before `deadline`.
    pub(crate) async fn see(&self, revision: u64, node: Option<NodeId>, deadline: Instant) -> bool {
        if self.view().revision < revision {
            match node {
                Some(node) => self.learn_from(node, deadline).await,
                None => self.refresh(deadline).await,
            };
        }
        let mut view = self.mesh.directory().watch_view();
        let seen = view.wait_for(|view| view.revision >= revision);
        matches!(timeout_at(deadline, seen).await, Ok(Ok(_)))
    }
}

fn no_such_class(target: Target<'_>) -> Refusal {
    let class = target.class().map_or("", ClassName::as_str);
    Refusal::new(Code::NotFound, format!("class {class:?} is not deployed"))
        .hint(format!("deploy it with PUT /api/v1/classes/{class}, or see GET /api/v1/classes"))
}

fn nobody_to_ask() -> Refusal {
    Refusal::new(Code::Unavailable, "there is no host that could be asked")
        .hint("start a host, or see GET /api/v1/cluster for the hosts' state")
        .effect(Effect::NotRun)
}

fn too_late() -> Problem {
    Problem::new(Code::Deadline, "the deadline passed before a host was asked").with_effect(Effect::NotRun)
}
