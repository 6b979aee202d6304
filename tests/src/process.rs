//! Processes under test: started so that none outlives the test run, their output kept in a file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::binary::oprc;

/// A running process. Killed when dropped, and by the kernel when this test run dies.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `oprc` with `args`; what it prints is added to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, args: &[String], log: &Path) -> Self {
        Self::spawn_with(&[], name, args, log)
    }

    /// The same with something in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_with(env: &[(&str, &str)], name: &str, args: &[String], log: &Path) -> Self {
        Self::spawn_as(None, env, name, args, log)
    }

    /// The same in the network namespace of the process `namespace`, if there is one.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_within(namespace: Option<u32>, name: &str, args: &[String], log: &Path) -> Self {
        Self::spawn_as(namespace, &[], name, args, log)
    }

    fn spawn_as(
        namespace: Option<u32>,
        env: &[(&str, &str)],
        name: &str,
        args: &[String],
        log: &Path,
    ) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log file opens");
        let mut command = match namespace {
            Some(pid) => {
                let mut command = tied("nsenter");
                command.arg(format!("--net=/proc/{pid}/ns/net")).arg("sh");
                command
            }
            None => tied("sh"),
        };
        // with SIGXFSZ ignored, writing past a limit on files (see `Process::limit_files`) fails instead of killing
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(oprc()).args(args).stdin(Stdio::null());
        command.envs(env.iter().copied());
        command.stdout(file.try_clone().expect("a file descriptor can be cloned")).stderr(file);
        let child =
            spawn(command).unwrap_or_else(|error| panic!("oprc {} does not start: {error}", args.join(" ")));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// SIGKILL, and waits until it is gone: locks and ports are free afterwards.
    pub fn kill(&mut self) {
        // an error means that it is gone already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name, such as `STOP`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: &str) {
        let done = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.pid())).status();
        assert!(done.is_ok_and(|status| status.success()), "SIG{signal} to {} ({})", self.name, self.pid());
    }

    /// From now on no file of this process can grow past `bytes`: every write beyond fails. False where `prlimit`
    /// (util-linux) is not there to do it.
    pub fn limit_files(&self, bytes: u64) -> bool {
        let (pid, limit) = (self.pid().to_string(), format!("--fsize={bytes}"));
        Command::new("prlimit").args(["--pid", &pid, &limit]).status().is_ok_and(|status| status.success())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it still runs after `patience`.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            assert!(Instant::now() < end, "{} still runs after {patience:?}\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client command's run.
#[derive(Debug)]
pub struct Cli {
    /// What was run, for messages.
    pub line: String,
    /// The exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Cli {
    /// Runs `oprc` with `args` in `dir` to its end.
    ///
    /// # Panics
    /// When it cannot be started or dies by a signal.
    pub async fn run(args: &[&str], dir: &Path, env: &[(&str, &str)], stdin: Option<&Path>) -> Self {
        let mut command = tied(oprc());
        command.args(args).current_dir(dir).envs(env.iter().copied());
        command
            .stdin(stdin.map_or_else(Stdio::null, |path| File::open(path).expect("the input opens").into()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = spawn(command).expect("oprc starts");
        let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
        let Output { status, stdout, stderr } = waited.await.expect("it is waited for").expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        let line = format!("oprc {}", args.join(" "));
        let code = status.code().unwrap_or_else(|| panic!("{line} died: {status}"));
        Self { line, code, out: text(stdout), err: text(stderr) }
    }

    /// The output of a command that must succeed.
    ///
    /// # Panics
    /// When it did not.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// The output of a command that must succeed, as JSON.
    ///
    /// # Panics
    /// When it did not, or printed something else.
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error} in {out}"))
    }

    /// The complaint of a command that must exit with `code`.
    ///
    /// # Panics
    /// When it did something else, or complained on standard output.
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(!self.err.trim().is_empty(), "it says why: {self:#?}");
        self.err
    }
}

/// A command without settings from this process's environment, tied to this process's life where `setpriv` (util-linux)
/// is there to do it.
pub(crate) fn tied(program: impl AsRef<OsStr>) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
        Command::new("setpriv").arg("--version").output().is_ok_and(|done| done.status.success())
    });
    let mut command = if *SETPRIV {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OPRC_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // Tests share a machine: what takes long says nothing of the one server. Those about overload say otherwise by a flag.
    command.env("OPRC_CONCURRENCY_MIN", "100000");
    // a proxy must never stand between the client commands and a server on this machine
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// Starts a process from the one thread that lives as long as this test run: the death signal follows the thread that
/// made the child, and a test's own thread ends with the test.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static NANNY: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in queue {
                // nobody waits any more when the test has failed meanwhile; dropping the child is all right then
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (reply, child) = mpsc::channel();
    NANNY.lock().expect("no holder panics").send((command, reply)).expect("the nanny lives");
    child.recv().expect("the nanny answers")
}
