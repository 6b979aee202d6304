//! HTTPS at the gateway: who is served, and that certificates are replaced without a restart.

use std::fs;
use std::path::{Path, PathBuf};

use oprc_tests::{Cli, Kind, Server, eventually, run};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority with its certificate in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.ca.pem"));
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A certificate by its word for this machine, and its key.
    pub(crate) fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The files that a gateway serves with.
pub(crate) struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { cert: folder.join("server.pem"), key: folder.join("server.key") }
    }

    pub(crate) fn put(&self, (cert, key): (String, String)) {
        fs::write(&self.cert, cert).unwrap();
        fs::write(&self.key, key).unwrap();
    }

    pub(crate) fn args(&self) -> [&str; 4] {
        ["--tls-cert", self.cert.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()]
    }
}

/// Starts the server, which does not answer plain HTTP, and waits until it answers `args`.
pub(crate) async fn launch(server: &Server, args: &[&str]) {
    server.start_host();
    if server.kind() == Kind::Apart {
        server.start_gateway();
    }
    eventually("HTTPS is answered", || async {
        let answered = classes(server, args).await;
        (answered.code == 0).then_some(())
    })
    .await;
}

async fn classes(server: &Server, args: &[&str]) -> Cli {
    let url = server.url().replace("http://", "https://");
    let all: Vec<_> = ["classes", "--server", &url].into_iter().chain(args.iter().copied()).collect();
    Cli::run(&all, server.scratch(), &[], None).await
}

async fn certificates_are_replaced(kind: Kind) {
    let server = Server::prepare(kind);
    let _shown = server.show_logs_on_panic();
    let folder = server.scratch().to_owned();
    let [first, second] = ["first", "second"].map(|name| Authority::new(&folder, name));
    let [by_first, by_second] = [&first, &second].map(|authority| ["--ca", authority.file.to_str().unwrap()]);
    let files = Files::new(&folder);
    files.put(first.issue());
    server.set_ingress_args(&files.args());
    launch(&server, &by_first).await;
    // of another authority, and one that the system does not know
    for other in [&by_second[..], &[]] {
        let told = classes(&server, other).await.fails(1);
        assert!(told.contains("cannot reach https://"), "{told}");
    }
    assert!(server.http().get("/healthz").try_send().await.is_err(), "plain HTTP is not answered");
    // half of a pair, and then the whole
    let (cert, key) = second.issue();
    fs::write(&files.cert, &cert).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    classes(&server, &by_first).await.ok();
    files.put((cert, key));
    eventually("the new certificate is served", || async {
        (classes(&server, &by_second).await.code == 0).then_some(())
    })
    .await;
    classes(&server, &by_first).await.fails(1);
}

#[test]
fn certificates_are_replaced_embedded() {
    run(certificates_are_replaced(Kind::Embedded));
}

#[test]
fn certificates_are_replaced_apart() {
    run(certificates_are_replaced(Kind::Apart));
}

#[test]
fn clients_show_theirs_where_that_is_wanted() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let _shown = server.show_logs_on_panic();
        let folder = server.scratch().to_owned();
        let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(&folder, name));
        let files = Files::new(&folder);
        files.put(ours.issue());
        let ca = ours.file.to_str().unwrap();
        server.set_ingress_args(&[&files.args()[..], &["--tls-client-ca", ca]].concat());
        let shown = |name: &str, (cert, key): (String, String)| {
            let file = folder.join(name);
            fs::write(&file, format!("{cert}{key}")).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let (member, stranger) = (shown("member", ours.issue()), shown("stranger", theirs.issue()));
        launch(&server, &["--ca", ca, "--client-cert", &member]).await;
        classes(&server, &["--ca", ca]).await.fails(1);
        classes(&server, &["--ca", ca, "--client-cert", &stranger]).await.fails(1);
        assert!(
            classes(&server, &["--ca", files.key.to_str().unwrap()]).await.fails(2).contains("certificate")
        );
    });
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let files = Files::new(server.scratch());
        let (cert, _) = Authority::new(server.scratch(), "a").issue();
        files.put((cert, "no key".to_owned()));
        let all: Vec<_> = ["up", "--listen", "127.0.0.1:0"].into_iter().chain(files.args()).collect();
        let told = Cli::run(&all, server.scratch(), &[], None).await.fails(1);
        assert!(told.contains("server.key") && told.contains("private key"), "{told}");
        let alone = Cli::run(&["up", "--tls-cert", "x"], server.scratch(), &[], None).await.fails(2);
        assert!(alone.contains("--tls-key"), "{alone}");
    });
}
