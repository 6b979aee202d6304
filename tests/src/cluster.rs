//! Many hosts, a router if wanted, and gateways, each a process of its own that can be killed, stopped, cut off and
//! brought back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::links::{Links, Party};
use crate::mesh::SecretFile;
use crate::place::Place;
use crate::run::tail;
use crate::{Cli, Http, Ingress, PATIENCE, Picture, Process, STOP_PATIENCE, within};

/// How long a cluster may take to settle: elections, catching up, moving replicas, a few groups at a time.
const SETTLE_PATIENCE: Duration = Duration::from_mins(3);

/// What a cluster is made of.
#[derive(Debug, Clone)]
#[must_use]
pub struct Plan {
    hosts: usize,
    gateways: usize,
    router: bool,
    cuttable: bool,
    zones: Vec<String>,
    host_args: Vec<String>,
    gateway_args: Vec<String>,
    token: Option<String>,
}

impl Plan {
    /// So many hosts and one gateway.
    pub fn of(hosts: usize) -> Self {
        Self {
            hosts,
            gateways: 1,
            router: false,
            cuttable: false,
            zones: Vec::new(),
            host_args: Vec::new(),
            gateway_args: Vec::new(),
            token: None,
        }
    }

    /// With so many gateways.
    pub fn gateways(self, gateways: usize) -> Self {
        Self { gateways, ..self }
    }

    /// With a router, which is then all that the others are told of.
    pub fn router(self) -> Self {
        Self { router: true, ..self }
    }

    /// With links that can be cut.
    pub fn cuttable(self) -> Self {
        Self { cuttable: true, ..self }
    }

    /// With hosts in these zones, one after the other and round again.
    pub fn zones(self, zones: &[&str]) -> Self {
        Self { zones: zones.iter().map(|&zone| zone.to_owned()).collect(), ..self }
    }

    /// With more arguments for every host.
    pub fn host_args(self, args: &[&str]) -> Self {
        Self { host_args: args.iter().map(|&arg| arg.to_owned()).collect(), ..self }
    }

    /// With more arguments for every gateway.
    pub fn gateway_args(self, args: &[&str]) -> Self {
        Self { gateway_args: args.iter().map(|&arg| arg.to_owned()).collect(), ..self }
    }

    /// With clients that show this token.
    pub fn shown(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Starts it, and waits until every partition is there, led and up to date.
    pub async fn start(self) -> Cluster {
        let cluster = Cluster::prepare(self);
        if cluster.0.plan.router {
            cluster.start_router().await;
        }
        for number in 0..cluster.0.plan.hosts {
            cluster.start_host(number).await;
        }
        for number in 0..cluster.0.plan.gateways {
            cluster.start_gateway(number).await;
        }
        cluster.ready().await;
        cluster.settled(cluster.0.plan.hosts).await;
        cluster
    }
}

/// A running cluster. A clone is the same one; the last one dropped kills its processes and removes their data.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    plan: Plan,
    // before what they run on: fields are dropped in this order
    processes: Mutex<Processes>,
    links: Links,
    secret: SecretFile,
    dir: Place,
}

#[derive(Default)]
struct Processes {
    router: Option<Process>,
    hosts: Vec<Option<Process>>,
    gateways: Vec<Option<Process>>,
}

impl Processes {
    fn slot(&mut self, party: Party) -> &mut Option<Process> {
        let (list, number) = match party {
            Party::Router => return &mut self.router,
            Party::Host(number) => (&mut self.hosts, number),
            Party::Gateway(number) => (&mut self.gateways, number),
        };
        if list.len() <= number {
            list.resize_with(number + 1, || None);
        }
        &mut list[number]
    }
}

impl Cluster {
    /// `hosts` hosts and a gateway, with a router or without, running and settled.
    pub async fn start(hosts: usize, router: bool) -> Self {
        let plan = Plan::of(hosts);
        if router { plan.router().start().await } else { plan.start().await }
    }

    fn prepare(plan: Plan) -> Self {
        let dir = Place::new();
        let links = if plan.cuttable { Links::cuttable(dir.path()) } else { Links::open() };
        if plan.router {
            links.add(Party::Router);
        }
        (0..plan.hosts).map(Party::Host).for_each(|party| links.add(party));
        (0..plan.gateways).map(Party::Gateway).for_each(|party| links.add(party));
        let secret = SecretFile::new(dir.path());
        Self(Arc::new(Inner { plan, processes: Mutex::default(), links, secret, dir }))
    }

    /// Starts the router unless it runs.
    pub async fn start_router(&self) {
        let args = vec!["router".to_owned(), "--mesh-listen".to_owned(), self.0.links.mesh(Party::Router)];
        self.spawn(Party::Router, args).await;
    }

    /// Starts a gateway unless it runs.
    pub async fn start_gateway(&self, number: usize) {
        let party = Party::Gateway(number);
        let listen = self.0.links.http(party).to_string();
        let mut args = vec!["gateway".to_owned(), "--listen".to_owned(), listen];
        args.extend(self.0.plan.gateway_args.iter().cloned());
        if !args.iter().any(|arg| arg == "--auth") {
            args.push("--allow-anonymous".to_owned()); // a network of its own has no loopback
        }
        self.spawn(party, args).await;
    }

    /// Starts a host unless it runs. The hosts of the plan expect each other; any other joins what is there.
    pub async fn start_host(&self, number: usize) {
        let party = Party::Host(number);
        let Inner { plan, links, .. } = &*self.0;
        let data = self.data_dir(number).to_str().expect("a temporary path is UTF-8").to_owned();
        let (mesh, health) = (links.mesh(party), links.http(party).to_string());
        let mut args: Vec<String> =
            ["host", "--data-dir", &data, "--mesh-listen", &mesh, "--listen", &health]
                .map(str::to_owned)
                .into();
        if number < plan.hosts && plan.hosts > 1 {
            args.extend(["--expect".to_owned(), plan.hosts.to_string()]);
        }
        if !plan.zones.is_empty() {
            args.extend(["--zone".to_owned(), plan.zones[number % plan.zones.len()].clone()]);
        }
        args.extend(plan.host_args.iter().cloned());
        self.spawn(party, args).await;
    }

    async fn spawn(&self, party: Party, mut args: Vec<String>) {
        let Inner { links, secret, .. } = &*self.0;
        args.extend(secret.args());
        for peer in self.peers(party) {
            if let Some(endpoint) = links.join(party, peer).await {
                args.extend(["--join".to_owned(), endpoint]);
            }
        }
        if let Some(config) = links.config() {
            args.extend(["--zenoh-config".to_owned(), config.display().to_string()]);
        }
        let log = self.log_path(party);
        let mut processes = self.processes();
        let slot = processes.slot(party);
        if slot.is_none() {
            *slot = Some(Process::spawn_within(links.namespace(party), &name(party), &args, &log));
        }
    }

    /// Whom a party is told of: the router if there is one, all other hosts otherwise.
    fn peers(&self, party: Party) -> Vec<Party> {
        match party {
            Party::Router => Vec::new(),
            _ if self.0.plan.router => vec![Party::Router],
            _ => self.hosts().into_iter().map(Party::Host).filter(|host| *host != party).collect(),
        }
    }

    /// Starts one more host, and gives its number.
    pub async fn add_host(&self) -> usize {
        let number = self.processes().hosts.len();
        self.0.links.add(Party::Host(number));
        self.start_host(number).await;
        number
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self, party: Party) {
        // dropping kills and waits
        *self.processes().slot(party) = None;
    }

    /// Sends a signal by its name, such as `STOP`.
    ///
    /// # Panics
    /// When the party does not run.
    pub fn signal(&self, party: Party, signal: &str) {
        self.processes().slot(party).as_ref().unwrap_or_else(|| panic!("{party:?} runs")).signal(signal);
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn terminate(&self, party: Party) -> ExitStatus {
        let process = self.processes().slot(party).take();
        let mut process = process.unwrap_or_else(|| panic!("{party:?} runs"));
        process.terminate();
        process.ended(STOP_PATIENCE).await
    }

    /// Removes everything that a host keeps.
    ///
    /// # Panics
    /// When it runs.
    pub fn wipe(&self, host: usize) {
        assert!(self.processes().slot(Party::Host(host)).is_none(), "host {host} does not run");
        std::fs::remove_dir_all(self.data_dir(host)).expect("a host's directory can be removed");
    }

    /// Takes away what `from` sends to `to`. The other direction stays.
    pub fn cut(&self, from: Party, to: Party) {
        self.0.links.set(from, to, false);
    }

    /// Takes away everything between two groups of parties.
    pub fn part(&self, side: &[Party], rest: &[Party]) {
        for &from in side {
            for &to in rest.iter().filter(|to| **to != from) {
                self.cut(from, to);
                self.cut(to, from);
            }
        }
    }

    /// Restores all links; no cut, no harm.
    pub fn heal(&self) {
        if !self.0.plan.cuttable {
            return;
        }
        let parties = self.parties();
        for &from in &parties {
            for &to in parties.iter().filter(|to| **to != from) {
                self.0.links.set(from, to, true);
            }
        }
    }

    /// The numbers of all hosts that were ever started.
    pub fn hosts(&self) -> Vec<usize> {
        (0..self.processes().hosts.len().max(self.0.plan.hosts)).collect()
    }

    /// The hosts whose processes run, stopped or not.
    pub fn running(&self) -> Vec<usize> {
        let processes = self.processes();
        (0..processes.hosts.len()).filter(|&number| processes.hosts[number].is_some()).collect()
    }

    /// Every party that was ever started.
    pub fn parties(&self) -> Vec<Party> {
        let router = self.0.plan.router.then_some(Party::Router);
        let hosts = self.hosts().into_iter().map(Party::Host);
        router.into_iter().chain(hosts).chain((0..self.0.plan.gateways).map(Party::Gateway)).collect()
    }

    /// Waits until every gateway is ready.
    pub async fn ready(&self) {
        for number in 0..self.0.plan.gateways {
            let http = self.gateway(number);
            within(PATIENCE, "/readyz of every gateway answers 200", || async {
                self.assert_running();
                let reply = http.get("/readyz").try_send().await.ok()?;
                (reply.status == 200).then_some(())
            })
            .await;
        }
    }

    fn assert_running(&self) {
        let mut processes = self.processes();
        let Processes { router, hosts, gateways } = &mut *processes;
        for process in hosts.iter_mut().chain(gateways).chain([router]).flatten() {
            if let Some(status) = process.status() {
                panic!("a process ended: {status}\n{}", tail(&process.log()));
            }
        }
    }

    /// What the first gateway says of the cluster.
    pub async fn picture(&self) -> Option<Picture> {
        let reply = self.http().get("/api/v1/cluster").try_send().await.ok()?;
        (reply.status == 200).then(|| Picture::read(&reply.json()))
    }

    /// Waits until `hosts` hosts are alive and every partition has all the replicas that it can have with so many, up to
    /// date, and a leader.
    pub async fn settled(&self, hosts: usize) -> Picture {
        let replicas = replicas_on(hosts);
        self.pictured(&format!("{hosts} hosts with {replicas} replicas of everything"), |picture| {
            picture.alive().len() == hosts && picture.is_settled(replicas)
        })
        .await
    }

    /// The same once nobody writes any more: each replica has applied everything.
    pub async fn caught_up(&self, hosts: usize) -> Picture {
        let replicas = replicas_on(hosts);
        self.pictured(&format!("{hosts} hosts with {replicas} whole replicas of everything"), |picture| {
            picture.alive().len() == hosts && picture.is_caught_up(replicas)
        })
        .await
    }

    /// Waits until the picture is as wanted.
    pub async fn pictured(&self, what: &str, is: impl Fn(&Picture) -> bool) -> Picture {
        let last = Mutex::new(String::new());
        let shown = ShowOnPanic(|| eprintln!("the cluster: {}", last.lock().expect("nobody panics with it")));
        let picture = within(SETTLE_PATIENCE, what, || async {
            self.assert_running();
            let picture = self.picture().await?;
            let mut text = String::new();
            let _ = write!(text, "{picture:#?}"); // writing to a String cannot fail
            *last.lock().expect("nobody panics with it") = text;
            is(&picture).then_some(picture)
        })
        .await;
        drop(shown);
        picture
    }

    /// Waits until the object's partition has a leader that runs, and gives it.
    pub async fn leader_of(&self, class: &str, object: &str) -> usize {
        within(PATIENCE, "the object's partition has a leader", || async {
            let picture = self.picture().await?;
            self.host_with(picture.of(class, object).leader.as_ref()?)
        })
        .await
    }

    /// Waits until the catalog has a leader that runs, and gives it.
    pub async fn catalog_leader(&self) -> usize {
        within(PATIENCE, "the catalog has a leader, and /cluster names it", || async {
            self.host_with(self.picture().await?.catalog_leader.as_ref()?)
        })
        .await
    }

    /// The id that a host has given itself.
    pub fn node_id(&self, host: usize) -> Option<String> {
        let text = std::fs::read_to_string(self.data_dir(host).join("node-id")).ok()?;
        Some(text.trim().to_owned())
    }

    /// The running host with this id.
    pub fn host_with(&self, id: &str) -> Option<usize> {
        self.running().into_iter().find(|&host| self.node_id(host).as_deref() == Some(id))
    }

    /// A client of a gateway.
    pub fn gateway(&self, number: usize) -> Http {
        let http = Http::at(self.0.links.http(Party::Gateway(number)));
        self.0.plan.token.as_ref().map_or(http.clone(), |token| http.with_key(token))
    }

    /// Clients of all gateways.
    pub fn gateways(&self) -> Vec<Http> {
        (0..self.0.plan.gateways).map(|number| self.gateway(number)).collect()
    }

    /// Runs a client command against the first gateway, in an empty environment.
    pub async fn cli(&self, args: &[&str]) -> Cli {
        let url = format!("http://{}", self.0.links.http(Party::Gateway(0)));
        Cli::run(args, self.0.dir.path(), &[("OPRC_SERVER", &url)], None).await
    }

    /// Where a host keeps its data.
    pub fn data_dir(&self, host: usize) -> PathBuf {
        self.0.dir.path().join(format!("h{host}"))
    }

    /// What a party printed over all its lives.
    pub fn log(&self, party: Party) -> String {
        std::fs::read_to_string(self.log_path(party)).unwrap_or_default()
    }

    /// Prints the ends of all logs when the test panics while the guard lives.
    pub fn show_logs_on_panic(&self) -> impl Drop + use<> {
        let cluster = self.clone();
        ShowOnPanic(move || {
            for party in cluster.parties() {
                let path: &Path = &cluster.log_path(party);
                eprintln!("---- end of {} ----\n{}\n----", path.display(), tail(&cluster.log(party)));
            }
        })
    }

    fn log_path(&self, party: Party) -> PathBuf {
        self.0.dir.path().join(format!("{}.log", name(party)))
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        // a test that panicked while it looked at a process left nothing half done
        self.0.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Ingress for Cluster {
    /// A client of the first gateway.
    fn http(&self) -> Http {
        self.gateway(0)
    }
}

/// The replicas of each partition on so many hosts: an odd number of them, three unless told.
fn replicas_on(hosts: usize) -> usize {
    if hosts < 3 { 1 } else { 3 }
}

fn name(party: Party) -> String {
    match party {
        Party::Router => "router".to_owned(),
        Party::Host(number) => format!("host{number}"),
        Party::Gateway(number) => format!("gateway{number}"),
    }
}

/// Shows something when its test fails.
struct ShowOnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for ShowOnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}
