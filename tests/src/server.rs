//! The product, running: in one process or in two.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use oprc_mesh::testing::Stranger;
use tokio::sync::OnceCell;

use crate::mesh::{Asker, SecretFile};
use crate::place::Place;
use crate::run::{PATIENCE, tail};
use crate::{Cli, Http, Ingress, Process, Proxy, eventually, free_port};

/// How the product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `oprc up`: everything in one process.
    Embedded,
    /// `oprc host` and `oprc gateway`, joined over loopback TCP.
    Apart,
}

/// A server on a port and a data directory of its own, which survive its processes. A clone is the same server; the
/// last one dropped kills its processes and removes its directory.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    kind: Kind,
    dir: Place,
    port: u16,
    mesh_port: u16,
    join_port: AtomicU16,
    health_port: u16,
    /// Where the process that takes requests takes them from the mesh as well.
    asked_port: u16,
    secret: SecretFile,
    ingress_args: Mutex<Vec<String>>,
    processes: Mutex<Processes>,
}

/// Embedded, the one process is `host`.
#[derive(Default)]
struct Processes {
    host: Option<Process>,
    gateway: Option<Process>,
}

impl Server {
    /// A server of which nothing runs yet.
    ///
    /// # Panics
    /// When there is no directory or port for it.
    pub fn prepare(kind: Kind) -> Self {
        let dir = Place::new();
        let [port, mesh_port, health_port, asked_port] = [(); 4].map(|()| free_port());
        let secret = SecretFile::new(dir.path());
        let join_port = AtomicU16::new(mesh_port);
        Self(Arc::new(Inner {
            kind,
            dir,
            port,
            mesh_port,
            join_port,
            health_port,
            asked_port,
            secret,
            ingress_args: Mutex::default(),
            processes: Mutex::default(),
        }))
    }

    /// More arguments for the process that takes requests, when it is started next.
    ///
    /// # Panics
    /// Never.
    pub fn set_ingress_args(&self, args: &[&str]) {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        *self.0.ingress_args.lock().expect("no holder panics") = args;
    }

    /// The same, and it answers what is asked on the mesh: see [`Self::asker`].
    ///
    /// # Panics
    /// Never.
    pub fn set_asked(&self) {
        let endpoint = self.asked_endpoint();
        let more = ["--mesh-listen".to_owned(), endpoint];
        self.0.ingress_args.lock().expect("no holder panics").extend(more);
    }

    /// Where clients that speak Zenoh link, with [`Self::set_asked`].
    pub fn asked_endpoint(&self) -> String {
        format!("tcp/127.0.0.1:{}", self.0.asked_port)
    }

    /// A client that speaks Zenoh, with [`Self::set_asked`]; it shows the token of a key if it is given one.
    pub async fn asker(&self, token: Option<&str>) -> Asker {
        Asker::to(&self.asked_endpoint(), &self.0.secret, token).await
    }

    /// A client that speaks Zenoh and is linked with the host apart, which answers no questions.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn stranger_at_host(&self) -> Stranger {
        let manner = self.0.secret.shown(true);
        Stranger::link(&self.mesh_endpoint(), &manner).await.expect("it is let in")
    }

    /// What whoever links with this server's processes must have.
    pub fn secret(&self) -> &SecretFile {
        &self.0.secret
    }

    /// The processes that run, by their ids.
    pub fn pids(&self) -> Vec<u32> {
        let processes = self.processes();
        let Processes { host, gateway } = &*processes;
        [host, gateway].into_iter().flatten().map(Process::pid).collect()
    }

    /// A server of the test's own, running and ready.
    pub async fn start(kind: Kind) -> Self {
        let server = Self::prepare(kind);
        server.launch().await;
        server
    }

    /// The server of `kind` that all tests share which do it no harm.
    pub async fn shared(kind: Kind) -> Self {
        static SHARED: [OnceCell<Server>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
        SHARED[kind as usize].get_or_init(|| Self::start(kind)).await.clone()
    }

    /// Starts what does not run, and waits until it is ready.
    pub async fn launch(&self) {
        self.start_host();
        if self.0.kind == Kind::Apart {
            self.start_gateway();
        }
        self.ready().await;
    }

    /// Starts the host (embedded: everything) unless it runs.
    pub fn start_host(&self) {
        self.start_host_with(&[]);
    }

    /// The same with something in its environment.
    pub fn start_host_with(&self, env: &[(&str, &str)]) {
        let mut processes = self.processes();
        if processes.host.is_none() {
            let mut args = self.host_args();
            if self.0.kind == Kind::Embedded {
                args.extend(self.ingress_args());
            }
            processes.host = Some(Process::spawn_with(env, "host", &args, &self.log_path("host")));
        }
    }

    /// The command line of the host (embedded: of everything).
    pub fn host_args(&self) -> Vec<String> {
        let data = self.data_dir().to_str().expect("a temporary path is UTF-8").to_owned();
        let inner = &self.0;
        let mut args: Vec<String> = match inner.kind {
            Kind::Embedded => ["up", "--listen", &format!("127.0.0.1:{}", inner.port), "--data-dir", &data]
                .map(str::to_owned)
                .into(),
            Kind::Apart => {
                let health = format!("127.0.0.1:{}", inner.health_port);
                let mesh = self.mesh_endpoint();
                ["host", "--data-dir", &data, "--mesh-listen", &mesh, "--listen", &health]
                    .map(str::to_owned)
                    .into()
            }
        };
        args.extend(inner.secret.args());
        args
    }

    /// Starts the gateway unless it runs.
    pub fn start_gateway(&self) {
        let mut processes = self.processes();
        if processes.gateway.is_none() {
            let listen = format!("127.0.0.1:{}", self.0.port);
            let join = format!("tcp/127.0.0.1:{}", self.0.join_port.load(Ordering::Relaxed));
            let args = ["gateway", "--listen", &listen, "--join", &join].map(str::to_owned);
            let args = args.into_iter().chain(self.0.secret.args()).chain(self.ingress_args());
            let args: Vec<_> = args.collect();
            processes.gateway = Some(Process::spawn("gateway", &args, &self.log_path("gateway")));
        }
    }

    /// Puts a proxy between host and gateway; for a gateway that is started afterwards.
    pub async fn join_through_proxy(&self) -> Proxy {
        let proxy = Proxy::to(self.0.mesh_port).await;
        self.0.join_port.store(proxy.port, Ordering::Relaxed);
        proxy
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Panics
    /// When a process ends, or time runs out.
    pub async fn ready(&self) {
        let http = self.http();
        eventually("/readyz answers 200", || async {
            self.assert_running();
            let reply = http.get("/readyz").try_send().await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    fn assert_running(&self) {
        let mut processes = self.processes();
        let Processes { host, gateway } = &mut *processes;
        for process in [host, gateway].into_iter().flatten() {
            if let Some(status) = process.status() {
                panic!("a process ended: {status}\n{}", tail(&process.log()));
            }
        }
    }

    /// SIGKILL to the host (embedded: to everything).
    pub fn kill_host(&self) {
        // dropping kills and waits
        self.processes().host = None;
    }

    /// Sends a signal to the host, by its name.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal_host(&self, signal: &str) {
        self.processes().host.as_ref().expect("the host runs").signal(signal);
    }

    /// Memory that the process uses which takes requests, in KiB.
    ///
    /// # Panics
    /// When it does not run, or the system does not tell.
    pub fn ingress_kib(&self) -> u64 {
        let processes = self.processes();
        let ingress = if self.0.kind == Kind::Embedded { &processes.host } else { &processes.gateway };
        let pid = ingress.as_ref().expect("it runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("it says how much")
    }

    /// SIGKILL to the gateway.
    pub fn kill_gateway(&self) {
        self.processes().gateway = None;
    }

    /// SIGTERM to the gateway and then to the host; waits for their ends, and gives the host's.
    ///
    /// # Panics
    /// When one does not end.
    pub async fn stop(&self) -> ExitStatus {
        let gateway = self.processes().gateway.take();
        if let Some(mut gateway) = gateway {
            gateway.terminate();
            let status = gateway.ended(PATIENCE).await;
            assert!(status.success(), "the gateway ended with {status}\n{}", tail(&gateway.log()));
        }
        let mut host = self.take_host();
        host.terminate();
        host.ended(PATIENCE).await
    }

    /// Takes the host's process into the caller's hands.
    ///
    /// # Panics
    /// When it does not run.
    pub fn take_host(&self) -> Process {
        self.processes().host.take().expect("the host runs")
    }

    /// Takes the gateway's process into the caller's hands; embedded, the one process that there is.
    ///
    /// # Panics
    /// When it does not run.
    pub fn take_gateway(&self) -> Process {
        match self.0.kind {
            Kind::Embedded => self.take_host(),
            Kind::Apart => self.processes().gateway.take().expect("the gateway runs"),
        }
    }

    /// A client of this server.
    pub fn http(&self) -> Http {
        Http::to(self.0.port)
    }

    /// A client of the host's own health port, which only a host apart has.
    pub fn health(&self) -> Http {
        Http::to(self.0.health_port)
    }

    /// Runs a client command against this server, in an empty environment.
    pub async fn cli(&self, args: &[&str]) -> Cli {
        self.cli_with(args, &[], None).await
    }

    /// The same with more environment, or an input.
    pub async fn cli_with(&self, args: &[&str], env: &[(&str, &str)], stdin: Option<&Path>) -> Cli {
        let url = self.url();
        let mut all = vec![("OPRC_SERVER", url.as_str())];
        all.extend_from_slice(env);
        Cli::run(args, self.0.dir.path(), &all, stdin).await
    }

    /// What clients take as `--server`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// Where gateways join.
    pub fn mesh_endpoint(&self) -> String {
        format!("tcp/127.0.0.1:{}", self.0.mesh_port)
    }

    /// How it runs.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Where the host keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.0.dir.path().join("data")
    }

    /// A directory for the test's own files, in which client commands run.
    pub fn scratch(&self) -> &Path {
        self.0.dir.path()
    }

    /// What the gateway apart printed over all its lives.
    pub fn gateway_log(&self) -> String {
        std::fs::read_to_string(self.log_path("gateway")).unwrap_or_default()
    }

    /// What the host printed over all its lives.
    pub fn host_log(&self) -> String {
        std::fs::read_to_string(self.log_path("host")).unwrap_or_default()
    }

    /// Waits until a line of the host's log holds all of `parts`, and gives it.
    pub async fn logged(&self, parts: &[&str]) -> String {
        eventually(&format!("a log line with {parts:?}"), || async {
            let log = self.host_log();
            log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        })
        .await
    }

    /// Prints the ends of the logs when the test panics while the guard lives.
    pub fn show_logs_on_panic(&self) -> impl Drop + use<> {
        ShowLogs(self.clone(), [self.log_bytes("host"), self.log_bytes("gateway")])
    }

    fn ingress_args(&self) -> Vec<String> {
        self.0.ingress_args.lock().expect("no holder panics").clone()
    }

    fn log_bytes(&self, name: &str) -> u64 {
        std::fs::metadata(self.log_path(name)).map_or(0, |about| about.len())
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(format!("{name}.log"))
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        // a test that panicked while it looked at a process left nothing half done
        self.0.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Ingress for Server {
    fn http(&self) -> Http {
        Http::to(self.0.port)
    }
}

/// With the sizes of the logs when the test began: what stands before it is of other tests.
struct ShowLogs(Server, [u64; 2]);

impl Drop for ShowLogs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, begin) in ["host", "gateway"].into_iter().zip(self.1) {
                let path = self.0.log_path(name);
                if let Ok(log) = std::fs::read(&path) {
                    let log = String::from_utf8_lossy(log.get(begin as usize..).unwrap_or(&log)).into_owned();
                    eprintln!("---- end of {} ----\n{}\n----", path.display(), tail(&log));
                }
            }
        }
    }
}

/// How long a stopping process may take; it drains in less than its longest call.
pub const STOP_PATIENCE: Duration = Duration::from_secs(30);
