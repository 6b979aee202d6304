//! Network namespaces: each party of a cluster gets a network of its own on a common bridge, where what one sends to
//! another can be made to vanish, in one direction alone and without anybody being told.
//!
//! A namespace is held by a shell in it, and by the party's process; it goes with them, and with it all that is in it:
//! nothing is left behind, also when the test run is killed. A link is cut in the sender's table of neighbours, which
//! then holds an address that nobody has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::process::{spawn, tied};

/// A network of one cluster: 198.18.`net`.0/24, of the range that is set aside for tests of networks (RFC 2544).
pub(crate) struct Namespaces {
    net: u8,
    /// Holds the bridge.
    hub: Namespace,
}

/// The test's own address in every such network.
const OUTSIDE: u8 = 254;

impl Namespaces {
    /// Makes a network.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub(crate) fn open() -> Result<Self, String> {
        let hub = Namespace::open()?;
        hub.run("ip link add hub type bridge && ip link set hub up")?;
        let first = (std::process::id() % 256) as u8;
        for net in (0..=255).map(|step| first.wrapping_add(step)) {
            // the name can be taken once: whoever makes the link owns the network
            let link = format!("oprc{net}");
            let taken = run(&["ip", "-o", "-4", "address"])?.contains(&format!(" 198.18.{net}."));
            let peer = hub.pid().to_string();
            let add = ["ip", "link", "add", &link, "type", "veth", "peer", "name", "outside", "netns", &peer];
            if taken || run(&add).is_err_and(|error| error.contains("File exists")) {
                continue;
            }
            hub.run("ip link set outside master hub && ip link set outside up")?;
            run(&["ip", "address", "add", &format!("198.18.{net}.{OUTSIDE}/24"), "dev", &link])?;
            run(&["ip", "link", "set", &link, "up"])?;
            return Ok(Self { net, hub });
        }
        Err("all networks 198.18.x.0/24 are taken".to_owned())
    }

    /// A namespace for a party with this number (1 to 253), connected to all others.
    ///
    /// # Panics
    /// When it cannot be made, although the network could.
    pub(crate) fn join(&self, number: u8) -> Namespace {
        self.try_join(number).unwrap_or_else(|error| panic!("a network namespace: {error}"))
    }

    fn try_join(&self, number: u8) -> Result<Namespace, String> {
        let space = Namespace::open()?;
        let pid = space.pid();
        self.hub.run(&format!(
            "ip link add port{number} type veth peer name eth0 netns {pid} && ip link set port{number} master hub && \
             ip link set port{number} up"
        ))?;
        let (mac, address) = (mac(number), self.address(number));
        space.run(&format!(
            "ip link set lo up && ip link set eth0 address {mac} && ip address add {address}/24 dev eth0 && \
             ip link set eth0 up"
        ))?;
        // connections come back soon after a cut; older kernels do not know these
        for setting in ["tcp_syn_linear_timeouts 20", "tcp_rto_max_ms 1000"] {
            let (name, value) = setting.split_once(' ').expect("a name and a value");
            let _ = space.run(&format!("echo {value} > /proc/sys/net/ipv4/{name}"));
        }
        Ok(space)
    }

    /// The address of the party with this number.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.net, number)
    }

    /// Lets through, or lets vanish, what the party in `from` sends to the one with the number `to`.
    ///
    /// # Panics
    /// When the system does not do it.
    pub(crate) fn set(&self, from: &Namespace, to: u8, open: bool) {
        const NOBODY: u8 = 255;
        let (address, mac) = (self.address(to), mac(if open { to } else { NOBODY }));
        let done = from.run(&format!("ip neighbour replace {address} lladdr {mac} dev eth0 nud permanent"));
        done.unwrap_or_else(|error| panic!("a link to {address} cannot be cut or healed: {error}"));
    }
}

fn mac(number: u8) -> String {
    format!("02:6f:70:72:63:{number:02x}")
}

/// A network namespace with a shell in it.
pub(crate) struct Namespace(Mutex<Shell>);

struct Shell {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Namespace {
    fn open() -> Result<Self, String> {
        let mut command = tied("unshare");
        command.args(["--net", "sh"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn(command).map_err(|error| format!("unshare: {error}"))?;
        let commands = child.stdin.take().expect("its input is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let space = Self(Mutex::new(Shell { child, commands, answers }));
        // once the shell answers, the namespace is there
        space.run("ip -V").map_err(|error| format!("no network namespace with iproute2 in it: {error}"))?;
        Ok(space)
    }

    /// The process whose namespace it is.
    pub(crate) fn pid(&self) -> u32 {
        self.shell().child.id()
    }

    /// Runs a command in it.
    ///
    /// # Errors
    /// What it printed, if it failed.
    fn run(&self, command: &str) -> Result<(), String> {
        let mut shell = self.shell();
        let lost = |error: std::io::Error| format!("{command}: the shell is gone: {error}");
        writeln!(shell.commands, "{{ {command} ; }} 2>&1; echo \"::$?\"").map_err(lost)?;
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            if shell.answers.read_line(&mut line).map_err(lost)? == 0 {
                return Err(format!("{command}: the shell ended"));
            }
            match line.trim_end().strip_prefix("::") {
                Some("0") => return Ok(()),
                Some(code) => return Err(format!("{command}: exit code {code}: {}", printed.trim())),
                None => printed.push_str(&line),
            }
        }
    }

    fn shell(&self) -> std::sync::MutexGuard<'_, Shell> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let mut shell = self.shell();
        // an error means that it is gone already
        let _ = shell.child.kill();
        let _ = shell.child.wait();
    }
}

/// Runs a command in the test's own namespace, and gives what it printed.
fn run(command: &[&str]) -> Result<String, String> {
    let line = command.join(" ");
    let done = Command::new(command[0]).args(&command[1..]).output();
    let done = done.map_err(|error| format!("{line}: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;

    /// From the test's own side every party is reached; nothing is left when the network is dropped.
    #[test]
    fn a_network_comes_and_goes() {
        let network = match Namespaces::open() {
            Ok(network) => network,
            // then the tests cut links by proxies, see `links`
            Err(why) => return println!("not here: {why}"),
        };
        let (first, second) = (network.join(1), network.join(2));
        let here = TcpListener::bind((network.address(OUTSIDE), 0)).unwrap();
        let port = here.local_addr().unwrap().port();
        let hello = format!("bash -c 'echo hello > /dev/tcp/{}/{port}'", network.address(OUTSIDE));
        for (space, address) in [(&first, network.address(1)), (&second, network.address(2))] {
            space.run(&hello).unwrap();
            let (mut stream, from) = here.accept().unwrap();
            assert_eq!(from.ip(), address);
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello\n");
        }
        let link = format!("/sys/class/net/oprc{}", network.net);
        assert!(Path::new(&link).exists());
        drop((first, second, network));
        crate::run(crate::eventually("the link is gone", || async {
            (!Path::new(&link).exists()).then_some(())
        }));
    }

    /// A closed port refuses at once while the link works, and nothing is heard while either direction is cut.
    #[test]
    fn links_are_cut_and_healed() {
        let Ok(network) = Namespaces::open() else { return println!("not here") };
        let (first, second) = (network.join(1), network.join(2));
        let is_heard = |seconds: u32| {
            let knock = format!("timeout {seconds} bash -c 'echo > /dev/tcp/{}/9'", network.address(2));
            first.run(&knock).is_err_and(|error| error.contains("refused"))
        };
        assert!(is_heard(30));
        for (from, to) in [(&first, 2), (&second, 1)] {
            network.set(from, to, false);
            assert!(!is_heard(1));
            network.set(from, to, true);
            assert!(is_heard(30));
        }
    }
}
